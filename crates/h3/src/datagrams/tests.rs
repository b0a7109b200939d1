use super::*;
use mpquic::StreamId;
use proptest::prelude::*;

fn stream(index: u64) -> StreamId {
    StreamId(index * 4)
}

fn waiting(route: &Route) -> Vec<(u64, Bytes)> {
    locked(&route.queue).datagrams.iter().cloned().collect()
}

#[test]
fn a_datagram_finds_its_stream_and_loses_its_prefix() {
    let mut routes = Routes::new(false);
    let (first, second) = (routes.open(stream(0)), routes.open(stream(70)));
    routes.on_datagram(vec![0, 0, 1, 2]).unwrap();
    routes.on_datagram(vec![0x40, 70, 0x40, 99, 3]).unwrap();
    routes.on_datagram(vec![0, 5]).unwrap();
    assert_eq!(waiting(&first), [(0, Bytes::from_static(&[1, 2])), (5, Bytes::new())]);
    assert_eq!(waiting(&second), [(99, Bytes::from_static(&[3]))]);
}

#[test]
fn a_datagram_without_a_possible_stream_is_a_fault() {
    let mut routes = Routes::new(true);
    let too_large = (1u64 << 60 | 0xc000_0000_0000_0000).to_be_bytes().to_vec();
    for datagram in [vec![], vec![0x40], vec![0xc0, 0, 0, 0, 0, 0, 0], too_large] {
        assert_eq!(routes.on_datagram(datagram).unwrap_err().code, code::DATAGRAM_ERROR);
    }
    let largest = (((1u64 << 60) - 1) | 0xc000_0000_0000_0000).to_be_bytes().to_vec();
    routes.on_datagram(largest).unwrap();
}

#[test]
fn a_server_keeps_a_few_for_streams_that_are_on_their_way() {
    let mut routes = Routes::new(true);
    for n in 0..20 {
        routes.on_datagram(vec![3, 0, n]).unwrap();
    }
    for stream in 4..60 {
        routes.on_datagram(vec![stream, 0]).unwrap();
    }
    assert_eq!(routes.early_total, EARLY_TOTAL_MAX);
    assert_eq!(routes.dropped(), 4 + (20 - 16) + (56 - 4 - 48));
    let route = routes.open(stream(3));
    assert_eq!(waiting(&route).len(), EARLY_MAX);
    assert_eq!(waiting(&route)[0].1, Bytes::from_static(&[0]));
    assert_eq!(routes.early_total, EARLY_TOTAL_MAX - EARLY_MAX);
}

#[test]
fn nothing_is_kept_for_streams_that_are_over_or_ours_to_open() {
    let mut routes = Routes::new(true);
    let route = routes.open(stream(5));
    routes.close(stream(5));
    routes.on_datagram(vec![5, 0]).unwrap();
    routes.on_datagram(vec![4, 0]).unwrap();
    assert_eq!((routes.dropped(), routes.early_total, waiting(&route).len()), (2, 0, 0));
    let mut routes = Routes::new(false);
    routes.on_datagram(vec![5, 0]).unwrap();
    assert_eq!((routes.dropped(), routes.early_total), (1, 0));
}

#[test]
fn of_too_many_the_oldest_give_way_and_are_counted() {
    let route = Route::new(VecDeque::new());
    for n in 0..20u8 {
        route.push(0, Bytes::copy_from_slice(&[n]));
    }
    assert_eq!(waiting(&route).len(), EARLY_MAX);
    assert_eq!(waiting(&route)[0].1, Bytes::from_static(&[4]));
    assert_eq!(locked(&route.queue).dropped, 4);
    // Once the application has the request, more may wait.
    locked(&route.queue).limit = QUEUE_MAX;
    for _ in 0..2 * QUEUE_MAX {
        route.push(0, Bytes::new());
    }
    assert_eq!(waiting(&route).len(), QUEUE_MAX);
}

#[test]
fn a_batch_reaches_each_stream_in_order_and_ends_at_a_fault() {
    let mut routes = Routes::new(false);
    let (first, second) = (routes.open(stream(0)), routes.open(stream(1)));
    let batch = [vec![0, 0, 1], vec![1, 0, 2], vec![9, 0, 3], vec![0, 0, 4], vec![], vec![0, 0, 5]];
    assert_eq!(routes.on_datagrams(batch).unwrap_err().code, code::DATAGRAM_ERROR);
    assert_eq!(waiting(&first), [(0, Bytes::from_static(&[1])), (0, Bytes::from_static(&[4]))]);
    assert_eq!(waiting(&second), [(0, Bytes::from_static(&[2]))]);
    assert_eq!(routes.dropped(), 1);
}

proptest! {
    #[test]
    fn arbitrary_datagrams_keep_within_bounds(
        datagrams in prop::collection::vec(prop::collection::vec(0u8..=255, 0..6), 0..300),
        opened in prop::collection::vec(0u64..64, 0..10),
    ) {
        let mut routes = Routes::new(true);
        let open: Vec<_> = opened.iter().map(|index| routes.open(stream(*index))).collect();
        for datagram in datagrams {
            routes.on_datagram(datagram).ok();
            prop_assert!(routes.early_total <= EARLY_TOTAL_MAX);
        }
        prop_assert!(open.iter().all(|route| waiting(route).len() <= EARLY_MAX));
    }
}
