//! How many steps a second a simulation takes on this machine: `cargo run --release --example
//! sim_speed`. Eight cores with sixteen tasks each that yield, sleep, write and talk.

use std::time::Duration;

use runtime::sim::{Options, Sim};
use runtime::{fs, mesh, task, time};

fn main() {
    for (what, part) in [("yield", 0), ("sleep", 1), ("write", 2), ("mesh", 3)] {
        let sim = Sim::new(Options::new(1));
        for node in 0..4 {
            let builder = mesh::MeshBuilder::<u64>::new(2, 64);
            sim.start_node(node, 2, move |core| Box::pin(run(part, core, builder.clone())));
        }
        let began = time::now();
        let mut rounds = 0;
        while began.elapsed() < Duration::from_secs(2) {
            if let Err(stuck) = sim.run_for(Duration::from_millis(10)) {
                println!("{stuck}");
                return;
            }
            rounds += 1;
        }
        let seconds = began.elapsed().as_secs_f64();
        let rate = sim.steps() as f64 / seconds;
        println!("{what}: {rate:.0} steps/s, {} virtual ms in {seconds:.1} s", rounds * 10);
    }
}

async fn run(part: u32, core: u16, builder: mesh::MeshBuilder<u64>) {
    let mesh = builder.join(core).await;
    let mut tasks = Vec::new();
    for number in 0..16 {
        let mesh = mesh.clone();
        tasks.push(task::spawn("worker", async move {
            loop {
                match part {
                    0 => task::yield_now().await,
                    1 => time::sleep(Duration::from_micros(100)).await,
                    2 => write(number).await,
                    _ => drop(mesh.send(1 - core, number).await),
                }
            }
        }));
    }
    let mut got = Vec::new();
    while mesh.recv_many(&mut got, 64).await.is_ok() {
        got.clear();
    }
}

async fn write(number: u64) {
    let path = format!("/file-{number}");
    let options =
        fs::OpenOptions { write: true, create: true, dsync: true, ..fs::OpenOptions::default() };
    let Ok(file) = fs::File::open(path.as_ref(), &options).await else { return };
    let mut buffer = fs::Buffer::from_slice_padded(&[1; 4096]);
    for block in 0..1_000 {
        match file.write_at(block * 4096, buffer).await {
            Ok(back) => buffer = back,
            Err(_) => return,
        }
    }
}
