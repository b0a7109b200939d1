//! BBR on links in virtual time ([`link`]), and its state machine event by event ([`machine`], fed by
//! [`feed`]).

mod feed;
mod link;
mod machine;
mod scenarios;
