//! What a connection may be told before it starts. Every value has one default, here.

use mpquic_base::Duration;
use mpquic_policy::cc::{self, Controller};
use mpquic_policy::sched::{self, Scheduler};
use mpquic_policy::{Entry, Settings};
use mpquic_wire::header::SUPPORTED_VERSIONS;

/// Settings of one end of a connection.
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// The connection ends after this much silence; the smaller of both ends' values counts. Zero: never.
    pub max_idle_timeout: Duration,
    /// A PING goes out on every path that was quiet for this long.
    pub keep_alive: Option<Duration>,
    /// A handshake that takes longer fails.
    pub handshake_timeout: Duration,
    /// First receive windows, in bytes; they grow with use up to the two maxima below.
    pub initial_stream_window: u64,
    pub initial_connection_window: u64,
    pub stream_window_max: u64,
    pub connection_window_max: u64,
    /// Bytes that all send buffers may hold at the most.
    pub send_buffer_max: u64,
    pub max_streams_bidi: u64,
    pub max_streams_uni: u64,
    /// Paths that may be open at once, 1 to 16. 1 still offers multipath, so that a path can replace another.
    pub max_paths: u8,
    /// Whether to offer multipath at all.
    pub multipath: bool,
    /// Largest DATAGRAM frame accepted; 0 refuses datagrams.
    pub max_datagram_frame: u16,
    /// Datagrams queued in each direction before the oldest are dropped (receiving) or refused (sending).
    pub datagram_queue: usize,
    /// RFC 9002 §6.2.2: the RTT assumed before the first sample.
    pub initial_rtt: Duration,
    /// Largest UDP payload to search for, in bytes.
    pub mtu_ceiling: u16,
    /// How long an ACK may be held back.
    pub max_ack_delay: Duration,
    /// Send fewer ACKs if the peer asks for that, and ask it for fewer where many would come (draft-ietf-quic-ack-frequency).
    pub ack_frequency: bool,
    /// Transmissions that may wait for their fate: the back-pressure between the wheel and the connection.
    pub max_in_flight_transmissions: u32,
    pub pacing: bool,
    /// Packets, over all paths, after which our key is replaced; the limit of the cipher may come earlier.
    pub key_update_packets: u64,
    /// A server tells clients at which address it sees them, a client asks for that.
    pub address_discovery: bool,
    /// Let observers measure the RTT, on all but one path in sixteen (RFC 9000 §17.4).
    pub spin: bool,
    /// Mark packets as ECN-capable where the path and the peer prove able (RFC 9000 §13.4).
    pub ecn: bool,
    /// QUIC versions, preferred first: a client begins with the first, a server speaks whichever the client chose.
    pub versions: Vec<u32>,
    /// Send what means nothing now and then, so that peers and middleboxes stay used to it (RFC 9287, RFC 9368 §6).
    pub greasing: bool,
    pub controller: &'static Entry<dyn Controller>,
    pub controller_settings: Settings,
    pub scheduler: &'static Entry<dyn Scheduler>,
    pub scheduler_settings: Settings,
}

impl Default for TransportConfig {
    fn default() -> Self {
        let (controller, scheduler) = (cc::ALL[0], sched::ALL[0]);
        Self {
            max_idle_timeout: Duration::from_secs(30),
            keep_alive: None,
            handshake_timeout: Duration::from_secs(10),
            initial_stream_window: 4 << 20,
            initial_connection_window: 6 << 20,
            stream_window_max: 64 << 20,
            connection_window_max: 96 << 20,
            send_buffer_max: 64 << 20,
            max_streams_bidi: 256,
            max_streams_uni: 256,
            max_paths: 8,
            multipath: true,
            max_datagram_frame: 65535,
            datagram_queue: 1024,
            initial_rtt: Duration::from_millis(333),
            mtu_ceiling: 1452,
            max_ack_delay: Duration::from_millis(25),
            ack_frequency: true,
            max_in_flight_transmissions: 32,
            pacing: true,
            key_update_packets: 1 << 20,
            address_discovery: true,
            spin: true,
            ecn: true,
            versions: SUPPORTED_VERSIONS.to_vec(),
            greasing: true,
            controller,
            controller_settings: controller.defaults(),
            scheduler,
            scheduler_settings: scheduler.defaults(),
        }
    }
}

impl TransportConfig {
    /// Uses `entry` with its default settings on every path.
    pub fn set_controller(&mut self, entry: &'static Entry<dyn Controller>) {
        self.controller = entry;
        self.controller_settings = entry.defaults();
    }

    /// Uses `entry` with its default settings.
    pub fn set_scheduler(&mut self, entry: &'static Entry<dyn Scheduler>) {
        self.scheduler = entry;
        self.scheduler_settings = entry.defaults();
    }

    pub(crate) fn new_controller(&self) -> Box<dyn Controller> {
        (self.controller.build)(&self.controller_settings)
    }

    pub(crate) fn new_scheduler(&self) -> Box<dyn Scheduler> {
        (self.scheduler.build)(&self.scheduler_settings)
    }
}
