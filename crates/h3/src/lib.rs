//! HTTP/3 and MASQUE over multipath QUIC.
//!
//! Owns HTTP/3 (RFC 9114), QPACK without a dynamic table (RFC 9204), extended CONNECT (RFC 9220), HTTP datagrams and
//! capsules (RFC 9297), and the encodings of CONNECT-UDP (RFC 9298) and CONNECT-IP (RFC 9484). Refuses to know what is
//! tunnelled, who may use it, and how packets travel.

#![forbid(unsafe_code)]
