//! The primitives polled by hand: no executor, every order chosen.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake};

use super::*;

/// A future with a waker that counts.
struct Polled<T> {
    future: Pin<Box<dyn Future<Output = T>>>,
    wakes: Arc<Wakes>,
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl<T> Polled<T> {
    fn new(future: impl Future<Output = T> + 'static) -> Self {
        Self { future: Box::pin(future), wakes: Arc::default() }
    }

    fn poll(&mut self) -> Poll<T> {
        let waker = self.wakes.clone().into();
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    fn ready(&mut self) -> T {
        match self.poll() {
            Poll::Ready(out) => out,
            Poll::Pending => panic!("not ready"),
        }
    }

    fn pends(&mut self) {
        assert!(self.poll().is_pending());
    }

    fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::Relaxed)
    }
}

#[test]
fn a_large_request_is_not_overtaken() {
    let semaphore = Semaphore::new(2);
    let held = semaphore.try_acquire(1).unwrap();
    let mut large = Polled::new(semaphore.acquire(2));
    large.pends();
    assert!(semaphore.try_acquire(1).is_none());
    let mut small = Polled::new(semaphore.acquire(1));
    small.pends();
    drop(held);
    assert_eq!((large.wakes(), small.wakes()), (1, 0));
    let permit = large.ready().unwrap();
    assert_eq!(permit.held(), 2);
    small.pends();
    drop(permit);
    drop(small.ready().unwrap());
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn a_dropped_waiter_gives_on_what_it_was_handed() {
    let semaphore = Semaphore::new(1);
    let held = semaphore.try_acquire(1).unwrap();
    let mut first = Polled::new(semaphore.acquire(1));
    let mut second = Polled::new(semaphore.acquire(1));
    first.pends();
    second.pends();
    drop(held);
    assert_eq!(first.wakes(), 1);
    drop(first);
    assert_eq!(second.wakes(), 1);
    drop(second.ready().unwrap());
    assert_eq!((semaphore.available(), semaphore.waiters()), (1, 0));
}

#[test]
fn a_dropped_large_waiter_lets_the_small_ones_through() {
    let semaphore = Semaphore::new(1);
    let mut large = Polled::new(semaphore.acquire(2));
    let mut small = Polled::new(semaphore.acquire(1));
    large.pends();
    small.pends();
    drop(large);
    assert_eq!(small.wakes(), 1);
    assert!(small.ready().is_ok());
}

#[test]
fn closing_ends_the_waiting() {
    let semaphore = Semaphore::new(0);
    let mut waiter = Polled::new(semaphore.acquire(1));
    waiter.pends();
    semaphore.close();
    assert_eq!(waiter.ready().err(), Some(Closed));
    assert!(semaphore.try_acquire(0).is_none());
}

#[test]
fn notices_are_remembered_and_passed_on() {
    let notify = Notify::new();
    notify.notify_one();
    notify.notify_one();
    Polled::new(notify.notified()).ready();
    let mut first = Polled::new(notify.notified());
    let mut second = Polled::new(notify.notified());
    first.pends();
    second.pends();
    notify.notify_one();
    assert_eq!((first.wakes(), second.wakes()), (1, 0));
    drop(first);
    second.ready();
    let mut third = Polled::new(notify.notified());
    third.pends();
    notify.notify_all();
    third.ready();
    Polled::new(notify.notified()).pends();
}

#[test]
fn an_event_holds_until_cleared() {
    let event = Event::new();
    let wait = |event: &Event| {
        let event = event.clone();
        Polled::new(async move { event.wait().await })
    };
    let mut early = wait(&event);
    early.pends();
    event.set();
    early.ready();
    wait(&event).ready();
    event.clear();
    wait(&event).pends();
}

#[test]
fn one_value_once() {
    let (sender, receiver) = oneshot::channel();
    let mut receiver = Polled::new(receiver);
    receiver.pends();
    sender.send(7).unwrap();
    assert_eq!(receiver.wakes(), 1);
    assert_eq!(receiver.ready(), Ok(7));

    let (sender, receiver) = oneshot::channel::<u8>();
    drop(sender);
    assert_eq!(Polled::new(receiver).ready(), Err(Closed));

    let (sender, receiver) = oneshot::channel();
    drop(receiver);
    assert!(sender.is_closed());
    assert_eq!(sender.send(7), Err(7));
}

#[test]
fn a_full_queue_pushes_back_in_order() {
    let (sender, mut receiver) = queue::bounded(2);
    sender.try_send(1).unwrap();
    sender.try_send(2).unwrap();
    assert_eq!(sender.try_send(3), Err(queue::TrySendError::Full(3)));
    let waiting = sender.clone();
    let mut third = Polled::new(async move { waiting.send(3).await });
    third.pends();
    assert_eq!(receiver.try_recv(), Some(1));
    // The free place belongs to the one that waits.
    assert_eq!(sender.try_send(4), Err(queue::TrySendError::Full(4)));
    third.ready().unwrap();
    drop(third);
    drop(sender);
    let mut all = Polled::new(async move {
        let mut out = Vec::new();
        let got = receiver.recv_many(&mut out, 10).await;
        (got, out, receiver.recv().await)
    });
    assert_eq!(all.ready(), (Ok(2), vec![2, 3], Err(Closed)));
}

#[test]
fn a_receiver_wakes_for_a_value_and_for_the_end() {
    let (sender, mut receiver) = queue::bounded(1);
    let mut next = Polled::new(async move { (receiver.recv().await, receiver.recv().await) });
    next.pends();
    sender.try_send('a').unwrap();
    assert_eq!(next.wakes(), 1);
    next.pends();
    drop(sender);
    assert_eq!(next.wakes(), 2);
    assert_eq!(next.ready(), (Ok('a'), Err(Closed)));

    let (sender, receiver) = queue::bounded(1);
    drop(receiver);
    assert!(sender.is_closed());
    assert_eq!(sender.try_send(1), Err(queue::TrySendError::Closed(1)));
}
