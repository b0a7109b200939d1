use super::*;

mod model;

const HOLD: Duration = Duration::from_millis(50);

fn ms(n: u64) -> Time {
    Time::from_millis(n)
}

/// A window whose output is read as the numbers that the packets carry.
struct Bench {
    reorder: Reorder,
    out: Vec<Vec<u8>>,
}

impl Bench {
    fn new(limits: Limits) -> Self {
        let mut reorder = Reorder::new(limits);
        reorder.set_hold(HOLD);
        Self { reorder, out: Vec::new() }
    }

    fn flow(&mut self, at: u64, flow: u16, sequence: u32) -> Vec<u32> {
        let stamp = Stamp { flow, sequence };
        self.reorder.on_packet(ms(at), stamp, sequence.to_be_bytes().to_vec(), &mut self.out);
        self.numbers()
    }

    fn packet(&mut self, at: u64, sequence: u32) -> Vec<u32> {
        self.flow(at, 1, sequence)
    }

    fn expire(&mut self, at: u64) -> Vec<u32> {
        self.reorder.expire(ms(at), &mut self.out);
        self.numbers()
    }

    fn numbers(&mut self) -> Vec<u32> {
        self.out.drain(..).map(|p| u32::from_be_bytes(p.try_into().unwrap())).collect()
    }

    fn counters(&self) -> Counters {
        self.reorder.counters()
    }
}

fn bench() -> Bench {
    Bench::new(Limits::default())
}

#[test]
fn packets_in_order_pass_at_once_and_are_not_copied() {
    let mut reorder = Reorder::new(Limits::default());
    reorder.set_hold(HOLD);
    let mut out = Vec::new();
    for sequence in 0..100 {
        let packet = vec![1; 1200];
        let address = packet.as_ptr();
        reorder.on_packet(ms(0), Stamp { flow: 3, sequence }, packet, &mut out);
        assert_eq!(out.pop().map(|p| p.as_ptr()), Some(address));
    }
    assert_eq!(reorder.deadline(), None);
    assert_eq!(reorder.counters(), Counters { in_order: 100, ..Counters::default() });
}

#[test]
fn a_gap_that_fills_in_time_is_invisible() {
    let mut b = bench();
    assert_eq!(b.packet(0, 10), [10]);
    assert_eq!(b.packet(1, 12), []);
    assert_eq!(b.packet(2, 14), []);
    assert_eq!(b.packet(3, 11), [11, 12]);
    assert_eq!(b.packet(4, 13), [13, 14]);
    assert_eq!(b.reorder.held(), (0, 0));
    assert_eq!(b.counters(), Counters { in_order: 1, filled: 2, held: 2, ..Counters::default() });
}

#[test]
fn a_gap_that_stays_open_is_given_up_after_exactly_the_hold() {
    let mut b = bench();
    b.packet(0, 0);
    assert_eq!(b.packet(10, 2), []);
    assert_eq!(b.packet(20, 5), []);
    assert_eq!(b.reorder.deadline(), Some(ms(60)));
    assert_eq!(b.expire(59), []);
    assert_eq!(b.expire(60), [2]);
    assert_eq!(b.reorder.deadline(), Some(ms(70)));
    assert_eq!(b.expire(70), [5]);
    assert_eq!(b.reorder.deadline(), None);
    assert_eq!(b.counters().expired, 2);
}

#[test]
fn a_caller_that_expires_late_does_not_prolong_the_wait_of_an_active_flow() {
    let mut b = bench();
    b.packet(0, 0);
    assert_eq!(b.packet(10, 2), []);
    assert_eq!(b.packet(60, 3), [2, 3]);
}

#[test]
fn a_late_packet_is_delivered_as_it_is_and_only_once() {
    let mut b = bench();
    b.packet(0, 0);
    b.packet(1, 2);
    assert_eq!(b.expire(51), [2]);
    assert_eq!(b.packet(60, 1), [1]);
    assert_eq!(b.packet(61, 1), []);
    assert_eq!(b.packet(62, 3), [3]);
    assert_eq!((b.counters().late, b.counters().duplicates), (1, 1));
}

#[test]
fn a_late_packet_is_not_taken_for_one_of_a_lap_before() {
    let mut b = bench();
    for sequence in 0..3000 {
        b.packet(0, sequence);
    }
    b.packet(1, 3100);
    assert_eq!(b.expire(51), [3100]);
    for late in 3000..3100 {
        assert_eq!(b.packet(60, late), [late]);
        assert_eq!(b.packet(60, late), []);
    }
}

#[test]
fn a_duplicate_is_dropped_whether_its_twin_was_delivered_or_waits() {
    let mut b = bench();
    b.packet(0, 0);
    assert_eq!(b.packet(1, 0), []);
    b.packet(2, 2);
    assert_eq!(b.packet(3, 2), []);
    assert_eq!(b.packet(4, 1), [1, 2]);
    assert_eq!(b.packet(5, 2), []);
    assert_eq!(b.counters().duplicates, 3);
}

#[test]
fn a_hole_in_one_flow_holds_nobody_else() {
    let mut b = bench();
    for flow in [1, 2] {
        b.flow(0, flow, 0);
    }
    assert_eq!(b.flow(1, 1, 2), []);
    assert_eq!(b.flow(2, 2, 1), [1]);
}

#[test]
fn numbers_wrap_around_without_a_hitch() {
    let mut b = bench();
    let top = u32::MAX;
    assert_eq!(b.packet(0, top - 1), [top - 1]);
    assert_eq!(b.packet(1, 1), []);
    assert_eq!(b.packet(2, 0), []);
    assert_eq!(b.packet(3, top), [top, 0, 1]);
    assert_eq!(b.packet(4, top), []);
}

#[test]
fn without_a_hold_everything_passes_and_what_waited_leaves() {
    let mut b = bench();
    b.packet(0, 0);
    assert_eq!(b.packet(1, 2), []);
    b.reorder.set_hold(Duration::ZERO);
    assert_eq!(b.reorder.deadline(), Some(ms(1)));
    assert_eq!(b.expire(1), [2]);
    assert_eq!(b.packet(2, 9), [9]);
    assert_eq!(b.packet(2, 5), [5]);
    assert_eq!(b.packet(2, 5), []);
    assert_eq!(b.counters().passed, 1);
}

#[test]
fn a_queue_that_spans_too_much_gives_up_its_oldest_hole() {
    let mut b = Bench::new(Limits { window: 8, ..Limits::default() });
    b.packet(0, 0);
    assert_eq!(b.packet(1, 2), []);
    assert_eq!(b.packet(1, 7), []);
    assert_eq!(b.packet(1, 8), []);
    assert_eq!(b.packet(1, 9), [2], "number 1 is given up, 3 to 6 are not");
    assert_eq!(b.packet(1, 500), [7, 8, 9, 500]);
    assert_eq!((b.counters().overflows, b.reorder.held().0), (2, 0));
}

#[test]
fn bytes_of_one_flow_and_packets_of_all_are_bounded() {
    let mut b = Bench::new(Limits { flow_bytes: 8, packets: 3, ..Limits::default() });
    for flow in [1, 2] {
        b.flow(0, flow, 0);
        assert_eq!(b.flow(0, flow, 2), []);
    }
    assert_eq!(b.flow(0, 1, 4), []);
    assert_eq!(b.reorder.held(), (3, 12));
    assert_eq!(b.flow(0, 1, 6), [2], "three packets in a flow are twelve bytes, four in all are too many");
    assert_eq!(b.flow(0, 2, 4), [2]);
    assert_eq!(b.reorder.held(), (3, 12));
}

#[test]
fn a_flow_that_takes_the_place_of_another_sends_its_packets_on() {
    let mut b = bench();
    b.packet(0, 0);
    assert_eq!(b.packet(0, 2), []);
    assert_eq!(b.flow(1, 1 + u16::try_from(FLOWS).unwrap(), 77), [2, 77]);
    assert_eq!(b.reorder.held(), (0, 0));
    assert_eq!(b.counters().evicted, 1);
    assert_eq!(b.expire(1000), []);
    assert_eq!(b.reorder.deadline(), None);
}

/// Every tenth packet of one per millisecond is lost, nothing is reordered. Returns how many packets waited.
fn lossy(b: &mut Bench, from: u32, count: u32) -> u64 {
    let before = b.counters().held;
    for n in from..from + count {
        b.expire(u64::from(n));
        if n % 10 != 9 {
            b.packet(u64::from(n), n);
        }
    }
    b.counters().held - before
}

#[test]
fn a_flow_that_loses_but_never_reorders_is_soon_held_no_more_and_tried_again_later() {
    let mut b = bench();
    assert!(lossy(&mut b, 0, 200) > 0);
    assert_eq!(b.reorder.held().0, 0);
    assert_eq!(lossy(&mut b, 200, 800), 0, "it rests for a second");
    let tried = lossy(&mut b, 1000, 2000);
    assert!((1..300).contains(&tried), "a hole or two cost the wait: {tried} packets");
    let later = lossy(&mut b, 3000, 30_000);
    assert!(later < 600, "tries become rare: {later} packets in 30 seconds");
}

#[test]
fn a_resting_flow_is_held_again_as_soon_as_something_comes_late_but_in_time() {
    let mut b = bench();
    lossy(&mut b, 0, 300);
    assert_eq!(b.packet(300, 301), [301], "at rest");
    assert_eq!(b.packet(320, 300), [300], "this one would have been worth the wait");
    assert_eq!(b.packet(321, 303), []);
    assert_eq!(b.packet(330, 302), [302, 303]);
}

#[test]
fn a_resting_flow_stays_at_rest_when_late_packets_come_too_late_for_the_hold() {
    let mut b = bench();
    lossy(&mut b, 0, 300);
    assert_eq!(b.packet(300, 301), [301]);
    assert_eq!(b.packet(350, 300), [300]);
    assert_eq!(b.packet(351, 303), [303]);
}

#[test]
fn reordering_with_some_loss_keeps_the_flow_held() {
    let mut b = bench();
    let mut out_of_order = 0;
    let mut last = 0;
    for n in 0..5000u32 {
        let at = u64::from(n) * 2;
        // Pairs are swapped; one pair in twenty loses its later half.
        let swapped = n ^ 1;
        let mut passed = b.expire(at);
        if swapped % 40 != 7 {
            passed.extend(b.packet(at, swapped));
        }
        for number in passed {
            out_of_order += u32::from(number < last);
            last = number;
        }
    }
    assert!(out_of_order <= 1, "the very first pair may be swapped, {out_of_order} packets were");
}

#[test]
fn an_empty_queue_gives_its_memory_back() {
    let mut flow = Flow::new(0, 0);
    let rules = Limits::default().rules(HOLD);
    let mut out = Vec::new();
    for sequence in (1..1000).chain([0]) {
        flow.on_packet(ms(0), &rules, sequence, vec![0], &mut out);
    }
    assert_eq!((out.len(), flow.held()), (1000, 0));
    assert!(flow.capacity() <= 64);
}
