//! Parses transport parameters, writes them again, and parses that.

use mpquic_base::Role;
use mpquic_wire::parameters::{MAX_ENCODED_LEN, TransportParameters};

pub(crate) fn run(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let sender = if first % 2 == 0 { Role::Client } else { Role::Server };
    match TransportParameters::decode(bytes, sender) {
        Ok(parameters) => {
            // The grease could push a list at the cap over it.
            let bits = u64::from(*first) << 56 | bytes.len() as u64;
            for grease in [None, Some(bits).filter(|_| bytes.len() + 16 <= MAX_ENCODED_LEN)] {
                let again = parameters.encode(sender, grease);
                assert_eq!(TransportParameters::decode(&again, sender).as_ref(), Ok(&parameters));
            }
        }
        Err(error) => assert!(error.to_string().starts_with("transport parameter")),
    }
}
