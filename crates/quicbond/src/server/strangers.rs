//! Connections that have not yet proved who they are: so many in all, and so many from one place.

use crate::lock::lock;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

/// Kept at once.
const MAX: usize = 256;
/// Of one address: many clients behind one NAT may begin at the same moment, but one host cannot take all places.
const MAX_FROM_ONE: u32 = 32;

/// Who waits for the judgement of a proof.
#[derive(Debug, Default)]
pub(crate) struct Strangers(Mutex<BTreeMap<IpAddr, u32>>);

/// A place among the strangers, given back on drop.
#[derive(Debug)]
pub(crate) struct Place {
    among: Arc<Strangers>,
    from: IpAddr,
}

impl Strangers {
    /// `None` if there is no room for one more from there.
    pub(crate) fn admit(self: &Arc<Self>, from: IpAddr) -> Option<Place> {
        let from = from.to_canonical();
        let mut waiting = lock(&self.0);
        let all: u32 = waiting.values().sum();
        let own = waiting.get(&from).copied().unwrap_or(0);
        if all as usize >= MAX || own >= MAX_FROM_ONE {
            return None;
        }
        waiting.insert(from, own + 1);
        Some(Place { among: Arc::clone(self), from })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = lock(&self.among.0);
        if let Some(own) = waiting.get_mut(&self.from) {
            *own -= 1;
            if *own == 0 {
                waiting.remove(&self.from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX, MAX_FROM_ONE, Place, Strangers};
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    fn host(number: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(number))
    }

    #[test]
    fn one_host_cannot_take_all_places() {
        let strangers = Arc::new(Strangers::default());
        let own: Vec<Option<Place>> = (0..=MAX_FROM_ONE).map(|_| strangers.admit(host(1))).collect();
        assert_eq!(own.iter().flatten().count(), MAX_FROM_ONE as usize);
        assert!(strangers.admit(host(2)).is_some());
        drop(own);
        assert!(strangers.admit(host(1)).is_some());
    }

    #[test]
    fn all_together_have_a_limit_and_nothing_is_kept_of_those_who_went() {
        let strangers = Arc::new(Strangers::default());
        let all: Vec<Option<Place>> = (0..1000).map(|number| strangers.admit(host(number))).collect();
        assert_eq!(all.iter().flatten().count(), MAX);
        drop(all);
        assert!(strangers.0.lock().unwrap().is_empty());
    }
}
