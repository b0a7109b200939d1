//! What arrives on a request stream: header section, content, trailers, in the order of RFC 9114 §4.1.
//!
//! Judges frames and lengths. Refuses to know what becomes of the verdicts: whoever reads closes the connection or
//! ends the stream.

use crate::code;
use crate::error::Error;
use crate::frames::FrameReader;
use crate::head;
use crate::wire::frame::{self, Head};
use core::future::poll_fn;
use core::task::{Context, Poll, ready};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use mpquic::RecvStream;

/// Interim responses before the final one; nobody needs more.
const INTERIM_MAX: u32 = 32;

#[derive(Debug)]
pub(crate) struct MessageReader {
    frames: FrameReader,
    /// Our limit on field sections.
    limit: u64,
    phase: Phase,
    /// We are the client: this is a response.
    response: bool,
    /// The field section that is being collected.
    block: Vec<u8>,
    collecting: bool,
    interim: u32,
    /// Content that was announced and has not arrived yet.
    announced: Option<u64>,
    trailers: Option<HeaderMap>,
    /// Of the request that a response answers.
    method: Method,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Head,
    Content,
    /// A standing CONNECT: only DATA.
    Tunnel,
    Trailed,
    Over(Result<(), Error>),
}

impl MessageReader {
    pub(crate) fn of_request(stream: RecvStream, limit: u64) -> Self {
        Self::new(stream, limit, false, Method::GET)
    }

    pub(crate) fn of_response(stream: RecvStream, limit: u64, method: Method) -> Self {
        Self::new(stream, limit, true, method)
    }

    fn new(stream: RecvStream, limit: u64, response: bool, method: Method) -> Self {
        Self {
            frames: FrameReader::new(stream),
            limit,
            phase: Phase::Head,
            response,
            block: Vec::new(),
            collecting: false,
            interim: 0,
            announced: None,
            trailers: None,
            method,
        }
    }

    pub(crate) fn stop(&mut self, code: u64) {
        if !matches!(self.phase, Phase::Over(_)) {
            self.phase = Phase::Over(Err(Error::Finished));
            self.frames.stop(code);
        }
    }

    /// Ends the stream of a message that was found wanting; the verdict stays.
    pub(crate) fn abandon(&mut self, code: u64) {
        self.frames.stop(code);
    }

    /// Nothing more will come, for better or worse.
    pub(crate) const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over(_))
    }

    pub(crate) const fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    /// The head of a request.
    pub(crate) async fn request(&mut self) -> Result<Request<()>, Error> {
        poll_fn(|cx| self.poll_first_block(cx)).await?;
        let block = core::mem::take(&mut self.block);
        let request = head::parse_request(&block, self.limit)?;
        let tunnel = request.method() == Method::CONNECT;
        self.phase = if tunnel { Phase::Tunnel } else { Phase::Content };
        self.announced = if tunnel { None } else { head::content_length(request.headers())? };
        Ok(request)
    }

    /// The head of the final response.
    pub(crate) async fn response(&mut self) -> Result<Response<()>, Error> {
        if self.phase != Phase::Head {
            return Err(self.verdict().err().unwrap_or(Error::Refused("the response was read already")));
        }
        let response = loop {
            poll_fn(|cx| self.poll_first_block(cx)).await?;
            let block = core::mem::take(&mut self.block);
            let response = head::parse_response(&block, self.limit).map_err(|error| self.fail(error))?;
            if !response.status().is_informational() {
                break response;
            }
            self.interim += 1;
            if self.interim > INTERIM_MAX {
                let why = "too many interim responses";
                return Err(self.fail(Error::violation(code::EXCESSIVE_LOAD, why)));
            }
        };
        let status = response.status();
        if self.method == Method::CONNECT && status.is_success() {
            self.phase = Phase::Tunnel;
            return Ok(response);
        }
        self.phase = Phase::Content;
        // RFC 9110 §6.4.1: these have no content whatever they announce.
        let bare = self.method == Method::HEAD
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        self.announced = if bare {
            Some(0)
        } else {
            head::content_length(response.headers()).map_err(|e| self.fail(e))?
        };
        Ok(response)
    }

    /// The next bytes of content where they lie; `None` after the last. They stay until [`MessageReader::consume`].
    pub(crate) fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<&[u8]>, Error>> {
        if let Err(error) = ready!(self.poll_to_content(cx)) {
            return Poll::Ready(Err(self.fail(error)));
        }
        if self.is_over() {
            return Poll::Ready(self.verdict().map(|()| None));
        }
        // Asked twice because a borrow that is returned on one branch would last for the other as well.
        match ready!(self.frames.poll_payload(cx)) {
            Ok(_) => {}
            Err(error) => return Poll::Ready(Err(self.fail(error))),
        }
        self.frames.poll_payload(cx).map(|bytes| bytes.map(Some))
    }

    /// Takes `n` of the bytes that [`MessageReader::poll_content`] showed.
    pub(crate) fn consume(&mut self, n: usize) {
        self.frames.consume(n);
    }

    /// Goes on until there is content to take or the message is over.
    fn poll_to_content(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            match &self.phase {
                Phase::Head => {
                    return Poll::Ready(Err(Error::Refused("the response's head has to be read first")));
                }
                Phase::Over(_) => return Poll::Ready(Ok(())),
                Phase::Content | Phase::Tunnel | Phase::Trailed => {}
            }
            if self.collecting {
                ready!(self.poll_block(cx))?;
                let block = core::mem::take(&mut self.block);
                self.trailers = Some(head::parse_trailers(&block, self.limit)?);
                self.phase = Phase::Trailed;
                continue;
            }
            if self.frames.left() > 0 {
                return Poll::Ready(Ok(()));
            }
            match ready!(self.poll_frame(cx))? {
                None => {
                    if self.announced.is_some_and(|left| left > 0) {
                        return Poll::Ready(Err(Error::malformed("less content than announced")));
                    }
                    self.phase = Phase::Over(Ok(()));
                }
                Some(Head { kind: frame::DATA, len }) if self.phase != Phase::Trailed => {
                    if let Some(left) = &mut self.announced {
                        // RFC 9114 §4.1.2: content-length and the sum of the DATA frames agree.
                        *left =
                            left.checked_sub(len).ok_or(Error::malformed("more content than announced"))?;
                    }
                    if len == 0 {
                        ready!(self.frames.skip(cx));
                    }
                }
                Some(Head { kind: frame::HEADERS, len }) if self.phase == Phase::Content => {
                    self.begin_block(len)?;
                }
                Some(_) => return Poll::Ready(Err(unexpected())),
            }
        }
    }

    /// Collects the first field section, or the one after an interim response.
    fn poll_first_block(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.phase != Phase::Head {
            return Poll::Ready(Err(self.verdict().err().unwrap_or(Error::Finished)));
        }
        let collected = ready!(self.poll_collected(cx));
        Poll::Ready(collected.map_err(|error| self.fail(error)))
    }

    fn poll_collected(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if !self.collecting {
            match ready!(self.poll_frame(cx))? {
                Some(Head { kind: frame::HEADERS, len }) => self.begin_block(len)?,
                // RFC 9114 §4.1: content before a header section.
                Some(_) => return Poll::Ready(Err(unexpected())),
                None if self.response => {
                    return Poll::Ready(Err(Error::malformed("the stream ended before the response")));
                }
                None => {
                    let why = "the stream ended before the request";
                    let fault = crate::error::Fault { code: code::REQUEST_INCOMPLETE, why };
                    return Poll::Ready(Err(Error::Malformed(fault)));
                }
            }
        }
        self.poll_block(cx)
    }

    fn begin_block(&mut self, len: u64) -> Result<(), Error> {
        // What is larger than the limit when encoded is not worth being decoded.
        if len > self.limit {
            return Err(Error::TooLarge);
        }
        self.collecting = true;
        self.block.clear();
        Ok(())
    }

    fn poll_block(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.frames.poll_all(cx, &mut self.block))?;
        self.collecting = false;
        Poll::Ready(Ok(()))
    }

    /// The next frame that means something here; `None` at the end of the stream.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Head>, Error>> {
        loop {
            let Some(head) = ready!(self.frames.poll_head(cx))? else { return Poll::Ready(Ok(None)) };
            match head.kind {
                frame::DATA | frame::HEADERS => return Poll::Ready(Ok(Some(head))),
                // RFC 9114 §7.2.5: we never allow a push.
                frame::PUSH_PROMISE if self.response => {
                    let error = Error::violation(code::ID_ERROR, "a push that was not allowed");
                    return Poll::Ready(Err(error));
                }
                frame::PUSH_PROMISE
                | frame::SETTINGS
                | frame::GOAWAY
                | frame::CANCEL_PUSH
                | frame::MAX_PUSH_ID => return Poll::Ready(Err(unexpected())),
                kind if frame::is_forbidden(kind) => return Poll::Ready(Err(unexpected())),
                // RFC 9114 §9: unknown types are ignored, wherever they are.
                _ => ready!(self.frames.skip(cx)),
            }
        }
    }

    /// Remembers how the message ended.
    fn fail(&mut self, error: Error) -> Error {
        if !matches!(error, Error::Refused(_)) {
            self.phase = Phase::Over(Err(error.clone()));
        }
        error
    }

    fn verdict(&self) -> Result<(), Error> {
        match &self.phase {
            Phase::Over(verdict) => verdict.clone(),
            _ => Ok(()),
        }
    }
}

/// RFC 9114 §7.2: a frame where it is not permitted.
const fn unexpected() -> Error {
    Error::violation(code::FRAME_UNEXPECTED, "a frame that may not come here")
}
