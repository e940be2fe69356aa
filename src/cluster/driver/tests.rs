use super::*;
use crate::cluster::gossip::Life;
use runtime::sim::{Options, Sim};
use runtime::task::{self, Task};
use std::net::{IpAddr, Ipv4Addr};

/// Nodes in one task world, and a network between them that is slow and loses some.
#[derive(Default)]
struct Net {
    nodes: RefCell<BTreeMap<NodeId, Gossip>>,
    sent: Cell<u64>,
}

struct Line {
    net: Rc<Net>,
    me: NodeId,
    found: Rc<RefCell<Vec<Peer>>>,
}

impl Network for Line {
    fn send(&self, to: NodeId, datagram: Vec<u8>) {
        self.net.sent.set(self.net.sent.get() + 1);
        let (net, me) = (self.net.clone(), self.me);
        task::spawn("datagram", async move {
            time::sleep(Duration::from_micros(200 + random::below(10_000))).await;
            let receiver = net.nodes.borrow().get(&to).cloned();
            if let Some(receiver) = receiver.filter(|_| random::below(100) >= 5) {
                receiver.take(me, datagram);
            }
        })
        .detach();
    }

    fn found(&self, peer: &Peer) {
        self.found.borrow_mut().push(peer.clone());
    }

    fn load(&self) -> LocalBoxFuture<'_, Load> {
        let busy_permille = 100 * self.me.0 as u16;
        Box::pin(async move { Load { busy_permille, disk_used_permille: 5 } })
    }
}

fn peer(node: u32, start: u32) -> Peer {
    Peer {
        node: NodeId(node),
        life: Life { start, renewal: 0 },
        host: IpAddr::V4(Ipv4Addr::new(10, 0, 0, node as u8)),
        ports: (7500..7502).map(|port| port + start as u16).collect(),
    }
}

struct Running {
    gossip: Gossip,
    found: Rc<RefCell<Vec<Peer>>>,
    task: Task<()>,
}

fn start(net: &Rc<Net>, node: u32, start: u32) -> Running {
    let gossip = Gossip::new(peer(node, start), Settings::default());
    net.nodes.borrow_mut().insert(NodeId(node), gossip.clone());
    let found = Rc::default();
    let line = Line { net: net.clone(), me: NodeId(node), found: Rc::clone(&found) };
    let running = gossip.clone();
    let task = task::spawn("gossip", async move { running.run(&line).await });
    Running { gossip, found, task }
}

fn simulate(seed: u64, scenario: impl Future<Output = ()>) {
    let sim = Sim::new(Options::new(seed));
    sim.run_until(scenario).expect("it ends");
    assert!(sim.panics().is_empty(), "seed {seed}: {:?}", sim.panics());
}

async fn seconds(seconds: u64) {
    time::sleep(Duration::from_secs(seconds)).await;
}

#[test]
fn nodes_find_each_other_hear_of_load_and_miss_the_dead() {
    for seed in 0..10 {
        simulate(seed, async {
            let net = Rc::new(Net::default());
            let mut nodes: Vec<Running> = (1..=3).map(|node| start(&net, node, 1)).collect();
            // One who knows of all: the others hear of each other from it.
            nodes[0].gossip.register([peer(2, 0), peer(3, 0)]);
            seconds(15).await;
            for node in &nodes {
                for other in 1..=3 {
                    let (liveness, load) = node.gossip.heard(NodeId(other));
                    assert_eq!(liveness, Liveness::Alive);
                    assert_eq!(load.busy_permille, 100 * other as u16);
                }
                let mut found: Vec<NodeId> =
                    node.found.borrow().iter().map(|one| one.node).collect();
                found.sort_unstable();
                assert_eq!(
                    found.len(),
                    2,
                    "seed {seed}: told once each: {:?}",
                    node.found.borrow()
                );
            }
            net.nodes.borrow_mut().remove(&NodeId(3));
            drop(nodes.pop().map(|third| third.task));
            let [first, second] = &nodes[..] else { panic!("two are left") };
            seconds(20).await;
            for node in [first, second] {
                let heard = node.gossip.heard(NodeId(3)).0;
                assert!(matches!(heard, Liveness::Dead { .. }), "{heard:?}");
            }
            // It starts anew, at other doors.
            let again = start(&net, 3, 2);
            seconds(20).await;
            assert_eq!(second.gossip.heard(NodeId(3)).0, Liveness::Alive);
            assert_eq!(again.gossip.heard(NodeId(2)).0, Liveness::Alive);
            let last = second.found.borrow().last().cloned().expect("it was told");
            assert_eq!((last.node, last.address(0)), (NodeId(3), peer(3, 2).address(0)));
            assert_eq!(first.gossip.lost(), 0);
        });
    }
}

#[test]
fn a_node_without_others_sleeps_until_it_hears_of_one() {
    let sim = Sim::new(Options::new(1));
    sim.run_until(async {
        let net = Rc::new(Net::default());
        let alone = start(&net, 1, 1);
        seconds(900).await;
        assert_eq!(net.sent.get(), 0);
        let other = start(&net, 2, 1);
        other.gossip.register([peer(1, 0)]);
        seconds(10).await;
        assert_eq!(alone.gossip.heard(NodeId(2)).0, Liveness::Alive);
        assert!(net.sent.get() > 0);
        drop((alone.task, other.task));
    })
    .expect("it ends");
    // Timers of so long would have been thousands.
    assert!(sim.steps() < 2_000, "{} steps", sim.steps());
}
