//! Every fault strikes, and calm comes back.

use std::cell::Cell;

use super::super::{Fault, Nemesis, UnknownFault};
use super::*;
use crate::{net, task, time};

#[test]
fn names_are_names_of_faults() {
    for (fault, name) in Fault::ALL {
        assert_eq!((name.parse(), fault.to_string().as_str()), (Ok(*fault), *name));
    }
    let unknown = "flood".parse::<Fault>().unwrap_err();
    assert_eq!(unknown, UnknownFault("flood".to_owned()));
    assert!(unknown.to_string().contains("power-loss"));
}

/// A node that writes a little and talks to its neighbour for ever, whatever fails.
fn start(sim: &Sim, node: u32, done: &Rc<Cell<u32>>) {
    let done = done.clone();
    let address = move |node| std::net::SocketAddr::new(super::super::address_of(node), 1);
    sim.start_node(node, 1, move |_| {
        let done = done.clone();
        Box::pin(async move {
            let listener = net::Listener::bind(address(node), false).await.unwrap();
            let accept = async move {
                loop {
                    drop(listener.accept().await);
                }
            };
            task::spawn("accept", accept).detach();
            loop {
                let round = async {
                    let options = OpenOptions { write: true, create: true, ..Default::default() };
                    let file = File::open("/f".as_ref(), &options).await?;
                    file.write_at(0, page(1)).await?;
                    file.read_at(0, 100).await?;
                    file.sync().await?;
                    net::Stream::connect(address(node % 3 + 1)).await.map(drop)
                };
                if let Ok(Ok(())) = time::timeout(Duration::from_secs(1), round).await {
                    done.set(done.get() + 1);
                }
                time::sleep(50 * MS).await;
            }
        })
    });
}

#[test]
fn every_fault_strikes_and_passes() {
    for (seed, (fault, name)) in (0..).zip(Fault::ALL) {
        let run = || {
            let sim = sim(seed);
            let done = Rc::new(Cell::new(0));
            (1..=3).for_each(|node| start(&sim, node, &done));
            sim.run_for(50 * MS).unwrap();
            let nemesis = Nemesis::new(&[*fault], &[1, 2, 3]);
            for _ in 0..10 {
                let strike = nemesis.strike(&sim);
                assert_eq!(strike.fault, *fault);
                sim.run_for(100 * MS).unwrap();
                strike.crashed.iter().for_each(|&node| start(&sim, node, &done));
            }
            nemesis.calm(&sim);
            sim.run_for(Duration::from_secs(12)).unwrap();
            assert_eq!(sim.panics(), [], "{name}");
            done.set(0);
            sim.run_for(Duration::from_secs(1)).unwrap();
            assert!(done.get() > 30, "{name}: {} rounds after it was calm", done.get());
            sim.trace_hash()
        };
        assert_eq!(run(), run(), "{name}");
    }
}
