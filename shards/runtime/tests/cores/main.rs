//! The real world, held to what the seam promises: real cores, real files, real sockets.

mod churn;
mod files;
mod lifecycle;
mod mesh;
mod sockets;
mod tasks;
mod timers;

use std::future::Future;

use runtime::BoxLocalFuture;
use runtime::glommio::{Options, Placement, run};

/// Runs the same future on `cores` cores.
fn on_cores<T: Send, F: Future<Output = T> + 'static>(
    cores: u16,
    f: impl Fn(u16) -> F + Send + Clone,
) -> Vec<T> {
    let options = Options {
        cores,
        // Tests run beside each other: pinned they would queue up for the first processors.
        placement: Placement::Unbound,
        ..Options::default()
    };
    run(options, move |core| Box::pin(f(core)) as BoxLocalFuture<T>).expect("the cores run")
}

/// Runs a future on one core.
fn on_core<T: Send, F: Future<Output = T> + 'static>(f: impl Fn() -> F + Send + Clone) -> T {
    on_cores(1, move |_| f()).pop().expect("one core, one result")
}
