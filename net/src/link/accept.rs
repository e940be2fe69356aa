//! Connections that others make: who is let in, and which of two connections is kept.
//!
//! Two places have one link. Where both dial at once, the accepter decides, just before it would
//! say `Welcome`:
//!
//! * it has said hello on a connection of its own: the one of the smaller place is kept;
//! * its own is up: kept, unless the caller's hello names it as the link it had before, which means
//!   that the caller knows it and has lost it;
//! * a link that the caller made is up: the caller has lost it, or it would not call.
//!
//! Who is refused as *crossed* waits for the other's connection, and dials again if none comes.

use super::error::{LinkEnd, LinkEvent, Refusal};
use super::handshake::{self, Introduced, Socket};
use super::run;
use super::shared::Shared;
use super::state::{Counters, Link, Peer, Stage};
use crate::frame::CONNECTION;
use crate::server::Caller;
use bytes::BytesMut;
use model::id::NodeId;
use std::rc::Rc;

/// Shakes hands with a caller and runs its link to the end.
pub(super) async fn accept(shared: Rc<Shared>, caller: Caller) {
    let (mut socket, hello) = handshake::socket_of(caller);
    let (me, secret, options) = (&shared.me, &shared.secret, &shared.options);
    let (met, said) = match handshake::receive(me, secret, options, &hello, &mut socket).await {
        Ok(met) => met,
        Err((place, reason)) => {
            shared.heed(&reason);
            return shared.tell(LinkEvent::TurnedAway { place, reason });
        }
    };
    let mut welcome = BytesMut::new();
    said.welcome(&shared.secret).write(&mut welcome, CONNECTION);
    let welcome = Some(welcome.freeze());
    if met.place.node == NodeId(0) {
        let link = stranger(&shared, &met);
        return run::run(shared, link, socket, welcome).await;
    }
    match settle(&shared, &met) {
        Ok((peer, link)) => {
            shared.establish(&peer, &link, met, false);
            run::run(shared, link, socket, welcome).await;
        }
        Err(refusal) => turn_away(&shared, &mut socket, &met, &said, refusal).await,
    }
}

async fn turn_away(
    shared: &Shared,
    socket: &mut Socket,
    met: &Introduced,
    said: &handshake::Transcript,
    refusal: Refusal,
) {
    let message = said.refusal(&shared.secret, &refusal);
    let reason = socket.refuse(refusal, message).await;
    // That two have dialled at once is nobody's fault.
    if !matches!(reason, LinkEnd::Unwanted(Refusal::Crossed)) {
        shared.tell(LinkEvent::TurnedAway { place: met.place, reason });
    }
}

/// The link of a node that has no id yet: nobody sends it anything but answers.
fn stranger(shared: &Shared, met: &Introduced) -> Rc<Link> {
    let link = Link::new(shared.serial(), met.place, Rc::<Counters>::default());
    link.stage.set(Stage::Up);
    link
}

/// Which link the caller's connection becomes: the one that is being made, with what is queued
/// there, or a new one.
fn settle(shared: &Rc<Shared>, met: &Introduced) -> Result<(Rc<Peer>, Rc<Link>), Refusal> {
    let me = &shared.me;
    if shared.handler().is_none() {
        return Err(Refusal::Closing);
    }
    if met.place.node == me.place.node {
        // Cores of one node have other ways: somebody was given a wrong address.
        return Err(Refusal::WrongPlace);
    }
    shared.learn_incarnation(met.place.node, met.incarnation)?;
    let peer = shared.peer_or_new(met.place);
    let current = peer.link.borrow().clone();
    match current {
        None => {}
        Some(link) if link.is_up() => {
            if link.dialled.get() && met.link_before != link.id.get() {
                return Err(Refusal::Crossed);
            }
            shared.end(&link, LinkEnd::Replaced);
        }
        Some(link) if link.stage.get() == Stage::Greeting && me.place < met.place => {
            return Err(Refusal::Crossed);
        }
        Some(_being_made) => {}
    }
    // The user may have begun another when it heard of the end.
    let mut slot = peer.link.borrow_mut();
    let link = slot
        .get_or_insert_with(|| Link::new(shared.serial(), met.place, Rc::clone(&peer.counters)));
    let link = Rc::clone(link);
    drop(slot);
    Ok((peer, link))
}
