//! How a connection ends (RFC 9000 §10).

use crate::event::CloseReason;
use mpquic_base::{Duration, Time};
use mpquic_wire::{Code, Frame};

/// The end of a connection, from the first decision to the moment it is forgotten.
#[derive(Debug)]
pub(crate) enum Close {
    Open,
    /// We closed: the peer is told, and told again when it goes on talking.
    Closing {
        frame: CloseFrame,
        until: Time,
        due: bool,
        /// It is still to be said below 1-RTT.
        below_due: bool,
        received: u32,
        next_reply: u32,
    },
    /// The peer closed (or vanished): nothing is sent any more.
    Draining {
        until: Time,
    },
    Done,
}

/// What our CONNECTION_CLOSE says.
#[derive(Clone, Debug)]
pub(crate) enum CloseFrame {
    Transport { code: Code, why: &'static str },
    Application { code: u64, reason: Vec<u8> },
}

impl CloseFrame {
    /// RFC 9000 §10.2.3: an application close must not be readable before the handshake is done.
    pub(crate) fn frame(&self, one_rtt: bool) -> Frame<'_> {
        match self {
            Self::Transport { code, why } => {
                Frame::ConnectionClose { code: code.0, frame_type: Some(0), reason: why.as_bytes() }
            }
            Self::Application { code, reason } if one_rtt => {
                Frame::ConnectionClose { code: *code, frame_type: None, reason }
            }
            Self::Application { .. } => {
                let code = Code::APPLICATION_ERROR.0;
                Frame::ConnectionClose { code, frame_type: Some(0), reason: &[] }
            }
        }
    }

    pub(crate) fn reason(&self) -> CloseReason {
        match self {
            Self::Transport { code, why } => CloseReason::Violation { code: *code, why },
            Self::Application { code, .. } => CloseReason::Local(*code),
        }
    }
}

impl Close {
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    pub(crate) const fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// RFC 9000 §10.2: both states last three PTO.
    pub(crate) fn start(&mut self, now: Time, frame: CloseFrame, three_ptos: Duration) {
        *self = Self::Closing {
            frame,
            until: now + three_ptos,
            due: true,
            below_due: false,
            received: 0,
            next_reply: 1,
        };
    }

    pub(crate) fn drain(&mut self, now: Time, three_ptos: Duration) {
        let until = match self {
            Self::Closing { until, .. } | Self::Draining { until } => *until,
            Self::Open => now + three_ptos,
            Self::Done => return,
        };
        *self = Self::Draining { until };
    }

    /// RFC 9000 §10.2.1: packets that still arrive are answered, more and more rarely.
    pub(crate) const fn on_packet(&mut self) {
        if let Self::Closing { due, received, next_reply, .. } = self {
            *received += 1;
            if *received >= *next_reply {
                *received = 0;
                *next_reply = next_reply.saturating_mul(2);
                *due = true;
            }
        }
    }

    /// The frame to send now, once.
    pub(crate) fn take_due(&mut self) -> Option<CloseFrame> {
        match self {
            Self::Closing { frame, due, .. } if *due => {
                *due = false;
                Some(frame.clone())
            }
            _ => None,
        }
    }

    /// The frame has to go out below 1-RTT, too, in the next datagram.
    pub(crate) const fn owe_below(&mut self) {
        if let Self::Closing { below_due, .. } = self {
            *below_due = true;
        }
    }

    /// The frame to send below 1-RTT now, once.
    pub(crate) fn take_below(&mut self) -> Option<CloseFrame> {
        match self {
            Self::Closing { frame, below_due, .. } if *below_due => {
                *below_due = false;
                Some(frame.clone())
            }
            _ => None,
        }
    }

    pub(crate) const fn deadline(&self) -> Option<Time> {
        match self {
            Self::Closing { until, .. } | Self::Draining { until } => Some(*until),
            Self::Open | Self::Done => None,
        }
    }

    pub(crate) fn expire(&mut self, now: Time) {
        if self.deadline().is_some_and(|at| at <= now) {
            *self = Self::Done;
        }
    }
}

#[cfg(test)]
mod tests;
