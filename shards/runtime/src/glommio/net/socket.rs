//! System calls on sockets, of the kind that return at once.

use std::io;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Connections that may wait for `accept`.
const BACKLOG: libc::c_int = 1024;

/// The answer of a system call that returns -1 for failure.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Says which address an error is about. The kind stays.
pub(super) fn at(addr: SocketAddr, what: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {what} {addr}: {error}"))
}

/// A TCP socket. It blocks, because the ring refuses to wait for sockets that do not.
pub(super) fn tcp(addr: SocketAddr) -> io::Result<OwnedFd> {
    let family = if addr.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: no memory is involved; the descriptor that is returned is ours alone.
    unsafe { check(libc::socket(family, kind, 0)).map(|fd| OwnedFd::from_raw_fd(fd)) }
}

/// Sets a socket option that is a number.
pub(super) fn set_option(
    fd: RawFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `value` lives through the call and has the size that is said.
    let set = unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), size) };
    check(set).map(drop)
}

/// A socket that listens on `addr`.
pub(super) fn listen(addr: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let bound = || {
        let socket = tcp(addr)?;
        let fd = socket.as_raw_fd();
        // A restarted node gets its port back although old connections linger.
        set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
        if shared {
            set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
        }
        // What is accepted here inherits it.
        set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
        let (name, len) = to_kernel(addr);
        // SAFETY: `name` holds an address of `len` bytes.
        check(unsafe { libc::bind(fd, name.as_ptr().cast(), len) })?;
        // SAFETY: no memory is involved.
        check(unsafe { libc::listen(fd, BACKLOG) })?;
        Ok(TcpListener::from(socket))
    };
    bound().map_err(|error| at(addr, "listen on", error))
}

/// An address as the kernel wants it, and its length.
pub(super) fn to_kernel(
    addr: SocketAddr,
) -> (MaybeUninit<libc::sockaddr_storage>, libc::socklen_t) {
    let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    match addr {
        SocketAddr::V4(v4) => {
            let name = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: the storage is large and aligned enough for every kind of address.
            unsafe { storage.as_mut_ptr().cast::<libc::sockaddr_in>().write(name) };
            (storage, size_of::<libc::sockaddr_in>() as libc::socklen_t)
        }
        SocketAddr::V6(v6) => {
            let name = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: the storage is large and aligned enough for every kind of address.
            unsafe { storage.as_mut_ptr().cast::<libc::sockaddr_in6>().write(name) };
            (storage, size_of::<libc::sockaddr_in6>() as libc::socklen_t)
        }
    }
}

/// Ends one or both directions of a connection, or a listener. A socket that is not connected any
/// more has ended already, so there is nothing to tell.
pub(super) fn shut_down(fd: RawFd, how: libc::c_int) {
    // SAFETY: no memory is involved.
    unsafe { libc::shutdown(fd, how) };
}

/// The two ends of a connection: ours and the peer's.
pub(super) fn addresses(socket: &TcpStream) -> io::Result<(SocketAddr, SocketAddr)> {
    Ok((socket.local_addr()?, socket.peer_addr()?))
}
