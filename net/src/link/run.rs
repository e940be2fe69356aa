//! A link that is up: reading, writing, and noticing that nobody is there.
//!
//! One task does both: what the reading queued in answer leaves with the write that follows, and
//! all that other tasks queued in the same turn with it.

use super::clock::ClockReading;
use super::error::{Fault, LinkEnd, Refusal};
use super::handshake::{self, FAREWELL_TIMEOUT, Socket};
use super::message::{Answer, Handler, NOBODY, Payload, Service};
use super::options::LINK_PAYLOAD_MAX;
use super::shared::Shared;
use super::state::{Link, add};
use crate::frame::{CONNECTION, FrameDecoder, StreamId};
use crate::message::{NodeMessage, NodePong};
use crate::server::{ReadHalf, WriteHalf};
use bytes::{Bytes, BytesMut};
use model::placement::Place;
use runtime::{task, time};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// Runs a link to its end. `greeting` leaves before what is queued.
pub(super) async fn run(
    shared: Rc<Shared>,
    link: Rc<Link>,
    socket: Socket,
    greeting: Option<Bytes>,
) {
    let Socket { mut read, mut write, mut decoder } = socket;
    decoder.set_payload_max(LINK_PAYLOAD_MAX);
    let first = greeting.into_iter().chain(shared.word_of_routes(&link)).collect();
    let reason = {
        let reading = pin!(read_on(&shared, &link, &mut read, &mut decoder));
        let writing = pin!(write_on(&shared, &link, &mut write, first));
        first_of(reading, writing).await
    };
    shared.end(&link, reason.clone());
    shared.heed(&reason);
    let farewell = link.farewell.borrow_mut().take();
    if let Some(refusal) = farewell {
        let mut out = BytesMut::new();
        handshake::farewell(&refusal).write(&mut out, CONNECTION);
        // Who does not read, or was in the middle of a write, learns it from the end of the stream.
        let _told = time::timeout(FAREWELL_TIMEOUT, write.write_all(&mut vec![out.freeze()])).await;
    }
    write.shutdown().await;
}

/// What ends first; the other is dropped.
async fn first_of<T>(
    mut one: std::pin::Pin<&mut impl Future<Output = T>>,
    mut two: std::pin::Pin<&mut impl Future<Output = T>>,
) -> T {
    poll_fn(|cx| match one.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(done),
        Poll::Pending => two.as_mut().poll(cx),
    })
    .await
}

async fn write_on(
    shared: &Shared,
    link: &Link,
    half: &mut WriteHalf,
    mut parts: Vec<Bytes>,
) -> LinkEnd {
    let limit = shared.options.write_timeout;
    loop {
        if let Some(reason) = link.end() {
            return reason;
        }
        if parts.is_empty() && link.take(&mut parts) == 0 {
            if link.finishing.get() {
                *link.farewell.borrow_mut() = Some(Refusal::Finished);
                return LinkEnd::Unwanted(Refusal::Finished);
            }
            // An idle link holds nothing.
            parts = Vec::new();
            link.to_write.notified().await;
            continue;
        }
        match time::timeout(limit, half.write_all(&mut parts)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.into(),
            Err(_elapsed) => return LinkEnd::Timeout { action: "take a write", limit },
        }
        parts.clear();
        link.said.set(time::now());
        shared.written(link);
        task::yield_if_due().await;
    }
}

async fn read_on(
    shared: &Rc<Shared>,
    link: &Rc<Link>,
    half: &mut ReadHalf,
    decoder: &mut FrameDecoder,
) -> LinkEnd {
    loop {
        if let Err(reason) = take_frames(shared, link, decoder) {
            return reason;
        }
        task::yield_if_due().await;
        if let Some(reason) = link.end() {
            return reason;
        }
        let patience = match keep_alive(shared, link) {
            Ok(patience) => patience,
            Err(silent) => return silent,
        };
        let received = match time::timeout(patience, half.read()).await {
            Err(_elapsed) => continue,
            Ok(Err(error)) => return error.into(),
            Ok(Ok(received)) => received,
        };
        if received.is_empty() {
            return LinkEnd::Closed;
        }
        link.heard.set(time::now());
        add(&link.counters.bytes_received, received.len() as u64);
        decoder.feed(received.into());
    }
}

/// Says something where nothing was said for a while. Returns how long nothing needs to be done.
fn keep_alive(shared: &Shared, link: &Link) -> Result<Duration, LinkEnd> {
    let options = &shared.options;
    let now = time::now();
    let silent = now.saturating_since(link.heard.get());
    if silent >= options.dead_after {
        return Err(LinkEnd::Silent(options.dead_after));
    }
    // A ping that waits behind a long message is enough: that is what the other side hears then.
    let pinged = link.ping.get().map_or(link.said.get(), |(_, at)| at.max(link.said.get()));
    let quiet = now.saturating_since(pinged);
    let unmeasured = now.saturating_since(link.measured.get()) >= options.measure_every;
    if quiet >= options.ping_every || unmeasured {
        let number = shared.serial();
        link.ping.set(Some((number, now)));
        link.measured.set(now);
        shared.append(link, &NodeMessage::Ping(number), CONNECTION, &Payload::default());
        return Ok(options.ping_every.min(options.dead_after - silent));
    }
    Ok((options.ping_every - quiet).min(options.dead_after - silent))
}

/// Hands on every frame that is complete.
fn take_frames(
    shared: &Rc<Shared>,
    link: &Rc<Link>,
    decoder: &mut FrameDecoder,
) -> Result<(), LinkEnd> {
    while let Some(frame) = decoder.next_frame()? {
        // The user may have ended the link from within the message before.
        let Some(handler) = shared.handler().filter(|_| !link.is_over()) else {
            return Err(LinkEnd::Unwanted(Refusal::Closing));
        };
        add(&link.counters.frames_received, 1);
        match NodeMessage::read(&frame)? {
            NodeMessage::Answer { body } => {
                shared.complete((link.serial, frame.stream.0), Ok(body));
            }
            NodeMessage::Fault(code) => {
                let error = Fault::error_of(code);
                shared.complete((link.serial, frame.stream.0), Err(error));
            }
            NodeMessage::Ping(number) => {
                let clock = shared.me.clock().as_nanos();
                let pong = NodeMessage::Pong(NodePong { number, clock });
                shared.reply(link, &pong, CONNECTION, &Payload::default());
            }
            NodeMessage::Pong(pong) => measure(shared, link, &pong)?,
            NodeMessage::Relay(relay) => shared.relayed(link, &frame, relay)?,
            NodeMessage::Refused(message) => {
                let refusal = Refusal::from_wire(message.code, message.detail);
                return Err(LinkEnd::Refused(refusal));
            }
            NodeMessage::Post { service: NOBODY, body } => shared.routes_over(link, &body),
            message @ (NodeMessage::Post { .. } | NodeMessage::Call { .. }) => {
                deliver(shared, &*handler, link, link.place, None, message, frame.stream);
            }
            NodeMessage::Hello(_)
            | NodeMessage::Challenge(_)
            | NodeMessage::Proof(_)
            | NodeMessage::Welcome(_) => {
                return Err(LinkEnd::OutOfPlace("a handshake after the handshake"));
            }
        }
    }
    Ok(())
}

/// Hands a post or a call of `from` to the user; `back` is the route it came by, if by one.
pub(super) fn deliver(
    shared: &Rc<Shared>,
    handler: &dyn Handler,
    link: &Rc<Link>,
    from: Place,
    back: Option<u64>,
    message: NodeMessage,
    stream: StreamId,
) {
    match message {
        NodeMessage::Post { service, body } => match Service::from_number(service) {
            Some(service) => handler.post(from, service, body),
            None => add(&link.counters.dropped, 1),
        },
        NodeMessage::Call { service, patience, body } => {
            let deadline = time::now() + Duration::from_millis(u64::from(patience));
            let full = link.answering.get() >= shared.options.calls_max;
            let back = back.map(|route| (from, route));
            let mut answer = Answer::new(shared, link, stream, deadline, back);
            match Service::from_number(service) {
                None => answer.fail(Fault::UnknownService),
                Some(_) if full => answer.decline(),
                Some(service) => handler.call(from, service, body, answer),
            }
        }
        _ => {}
    }
}

fn measure(shared: &Shared, link: &Link, pong: &NodePong) -> Result<(), LinkEnd> {
    let Some((number, asked)) = link.ping.get() else { return Ok(()) };
    if number != pong.number {
        return Ok(());
    }
    let clock = ClockReading::new(asked, time::now(), shared.me.clock(), pong.clock);
    link.counters.clock.set(clock);
    let apart = clock.exceeds(shared.options.clock_offset_max);
    let apart = apart.then_some(Refusal::Clock { offset_nanos: clock.offset_nanos });
    if let Some(refusal) = apart.or_else(|| shared.me.waits()) {
        *link.farewell.borrow_mut() = Some(refusal.clone());
        return Err(LinkEnd::Unwanted(refusal));
    }
    Ok(())
}
