//! Links between simulated nodes, with the faults of the simulated network, and between real cores
//! over real sockets.

mod chaos;
mod faults;
mod handshake;
mod hostile;
mod measure;
mod node;
mod queues;
mod relay;
mod sockets;
