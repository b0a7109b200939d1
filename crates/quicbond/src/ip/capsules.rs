//! The request stream of a CONNECT-IP tunnel: packets that are too large for a datagram, and news about addresses.

use bytes::Bytes;
use mpquic_h3::capsule::{self, Capsules};
use mpquic_h3::connect_ip::Configuration;
use mpquic_h3::{BodySender, Error};
use tokio::sync::mpsc;

/// Sends each packet as a DATAGRAM capsule (RFC 9297 §3.5) until the session ends.
pub(crate) async fn send(mut stream: BodySender, mut packets: mpsc::Receiver<Vec<u8>>) {
    let (mut value, mut bytes) = (Vec::new(), Vec::new());
    while let Some(packet) = packets.recv().await {
        value.clear();
        bytes.clear();
        // Context 0 (RFC 9484 §6), one byte as a varint.
        value.push(0);
        value.extend_from_slice(&packet);
        capsule::write(&mut bytes, capsule::DATAGRAM, &value);
        if stream.send(&bytes).await.is_err() {
            return;
        }
    }
}

/// Reads until the peer ends the stream. Packets that find no room are lost, as packets may be.
pub(crate) async fn read(capsules: &mut Capsules, packets: &mpsc::Sender<Bytes>) -> Result<(), Error> {
    while let Some(capsule) = capsules.next().await? {
        if capsule.kind == capsule::DATAGRAM && capsule.value.first() == Some(&0) {
            packets.try_send(capsule.value.slice(1..)).ok();
        }
    }
    Ok(())
}

/// The next news about addresses or routes; `None` at the end of the stream or if it makes no sense.
pub(crate) async fn next_configuration(capsules: &mut Capsules) -> Option<Configuration> {
    loop {
        let capsule = capsules.next().await.ok()??;
        match Configuration::decode(&capsule) {
            Ok(Some(news)) => return Some(news),
            Ok(None) => {}
            Err(_) => return None,
        }
    }
}
