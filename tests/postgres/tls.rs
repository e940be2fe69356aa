//! Encrypted connections, at both doors, with certificates made here.

use crate::speaker::Speaker;
use crate::{builder, tools};
use phantomdb_client::blocking::Client;
use phantomdb_client::{Error, Options, SqlState};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;
use test_support::{Server, Stopwatch, sleep};

/// How long a node may take to close a connection, and to notice a signal.
const PATIENCE: Duration = Duration::from_secs(20);

/// `SSLRequest` and `GSSENCRequest`, behind their length.
const TLS: [u8; 4] = [4, 210, 22, 47];
const GSS: [u8; 4] = [4, 210, 22, 48];

/// An authority and a node's certificate of it, in files.
struct Certificates {
    directory: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Certificates {
    /// Of an authority made now; the node's is for the names `names`.
    fn new(names: &[&str]) -> Certificates {
        let directory = tempfile::tempdir().expect("a directory");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "the root of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let root = params.self_signed(&key).expect("a certificate");
        fs::write(directory.path().join("root.pem"), root.pem()).expect("a file");
        let certificates = Certificates { directory, issuer: Issuer::new(params, key) };
        certificates.issue(names);
        certificates
    }

    /// Makes the node's certificate anew.
    fn issue(&self, names: &[&str]) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("names");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        fs::write(self.path("node.pem"), certificate.pem()).expect("a file");
        fs::write(self.path("node.key"), key.serialize_pem()).expect("a file");
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(self.path("node.key"), private).expect("permissions");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn root(&self) -> String {
        self.path("root.pem").display().to_string()
    }

    /// A node with the certificate, and `mode` for `tls`.
    fn server(&self, data: &Path, mode: &str) -> Server {
        let (certificate, key) = (self.path("node.pem"), self.path("node.key"));
        let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
        let arguments =
            ["--cores", "2", "--tls", mode, "--tls-certificate", &certificate, "--tls-key", &key];
        builder(&data.join("data"), &arguments).start().expect("the server starts")
    }
}

/// What psql prints for a statement, or what it complains of; `None` where there is no psql.
fn ask(server: &Server, how: &str, statement: &str) -> Option<Result<String, String>> {
    let mut command = tools::client("psql", server, Path::new("."));
    command.args(["-X", "-At", "-d", how, "-c", statement]);
    let output = tools::run(command)?;
    Some(match output.status.success() {
        true => Ok(tools::text(output.stdout)),
        false => Err(tools::text(output.stderr)),
    })
}

/// A session of the native protocol.
fn native(server: &Server, how: &str) -> Result<Client, Error> {
    let port = server.address().rsplit_once(':').expect("a port").1;
    Client::connect(&format!("phantom://localhost:{port}/phantom?{how}"))
}

fn one(client: &mut Client) -> i64 {
    client.query_one("SELECT 1", &[]).expect("a row").get(0).expect("a number")
}

/// What the server says until it closes.
fn read_to_the_end(socket: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    match socket.read_to_end(&mut said) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the connection stays open: {error}"),
    }
    said
}

fn socket(address: &str) -> TcpStream {
    let socket = TcpStream::connect(address).expect("a connection");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

#[test]
fn psql_is_let_in_by_its_sslmode() {
    let certificates = Certificates::new(&["localhost"]);
    let data = tempfile::tempdir().expect("a data directory");
    let server = certificates.server(data.path(), "require");
    let root = certificates.root();
    let local = "host=localhost hostaddr=127.0.0.1";
    let Some(let_in) = ask(&server, &format!("{local} sslmode=require"), "SELECT 1") else {
        return;
    };
    assert_eq!(let_in.as_deref(), Ok("1\n"));
    let ask = |how: &str| ask(&server, how, "SELECT 1").expect("psql is there");
    let full = format!("{local} sslmode=verify-full sslrootcert={root}");
    assert_eq!(ask(&full).as_deref(), Ok("1\n"));
    // A client that tries in clear first, and learns that it must not.
    assert_eq!(ask(&format!("{local} sslmode=allow")).as_deref(), Ok("1\n"));
    let named = format!("host=elsewhere hostaddr=127.0.0.1 sslmode=verify-full sslrootcert={root}");
    let said = ask(&named).expect_err("the certificate is another's");
    assert!(said.contains("does not match host name \"elsewhere\""), "{said}");
    let by_root = named.replace("verify-full", "verify-ca");
    assert_eq!(ask(&by_root).as_deref(), Ok("1\n"));
    let said = ask(&format!("{local} sslmode=disable")).expect_err("it has to encrypt");
    assert!(said.contains("FATAL:  connections without TLS are not let in"), "{said}");
    let old = format!("{local} sslmode=require ssl_max_protocol_version=TLSv1.2");
    assert_eq!(ask(&old).as_deref(), Ok("1\n"));
}

#[test]
fn much_passes_both_ways() {
    let certificates = Certificates::new(&["localhost"]);
    let data = tempfile::tempdir().expect("a data directory");
    let server = certificates.server(data.path(), "allow");
    let rows = "SELECT sum(length(v)) FROM (SELECT repeat('x', 1000) AS v \
                FROM generate_series(1, 5000)) s";
    let how = "host=127.0.0.1 sslmode=require";
    let Some(sum) = ask(&server, how, rows) else { return };
    assert_eq!(sum.as_deref(), Ok("5000000\n"));
    let all = "SELECT repeat('x', 1000) FROM generate_series(1, 5000)";
    let printed = ask(&server, how, all).expect("psql is there").expect("rows");
    assert_eq!(printed.len(), 5000 * 1001);
    let mut client = native(&server, "sslmode=require").expect("it is let in");
    client.run("CREATE TABLE t (id int PRIMARY KEY, s text)").expect("a table");
    let text = "y".repeat(3 << 20);
    client.run(&format!("INSERT INTO t VALUES (1, '{text}')")).expect("a long statement");
    let row = client.query_one("SELECT s FROM t", &[]).expect("a long row");
    assert!(row.get::<String>(0).expect("text") == text, "it comes back as it went");
}

#[test]
fn the_native_door_is_opened_by_the_clients_sslmode() {
    let certificates = Certificates::new(&["localhost"]);
    let data = tempfile::tempdir().expect("a data directory");
    let server = certificates.server(data.path(), "require");
    let root = certificates.root();
    for how in
        ["sslmode=require", "sslmode=prefer", &format!("sslmode=verify-ca&sslrootcert={root}")]
    {
        assert_eq!(one(&mut native(&server, how).expect(how)), 1);
    }
    let full = format!("sslmode=verify-full&sslrootcert={root}");
    let mut client = native(&server, &full).expect("the certificate is good");
    assert_eq!(one(&mut client), 1);
    let port = server.address().rsplit_once(':').expect("a port").1;
    let by_number = format!("phantom://127.0.0.1:{port}/phantom?{full}");
    let error = Client::connect(&by_number).err().expect("the certificate names no number");
    assert!(error.to_string().contains("certificate"), "{error}");
    let other = Certificates::new(&["localhost"]);
    let foreign = format!("sslmode=verify-ca&sslrootcert={}", other.root());
    let error = native(&server, &foreign).err().expect("it comes from another root");
    assert!(error.to_string().contains("certificate"), "{error}");
    let error = native(&server, "sslmode=disable").err().expect("it has to encrypt");
    assert_eq!(error.state(), Some(SqlState::INVALID_AUTHORIZATION_SPECIFICATION), "{error}");
    let error = native(&server, "sslmode=verify-ca&sslrootcert=/nowhere").err().expect("no root");
    assert!(matches!(error, Error::RootCertificate { .. }), "{error}");
}

/// Each half works on its own, and a cancel goes through the other thread.
#[test]
fn a_cancel_passes_an_encrypted_connection() {
    let certificates = Certificates::new(&["localhost"]);
    let data = tempfile::tempdir().expect("a data directory");
    let server = certificates.server(data.path(), "require");
    let mut client = native(&server, "sslmode=require").expect("it is let in");
    let cancel = client.cancel_handle();
    let endless = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b";
    let error = thread::scope(|scope| {
        scope.spawn(|| {
            sleep(Duration::from_millis(300));
            cancel.cancel().expect("it is sent");
        });
        client.run(endless).expect_err("it is cancelled")
    });
    assert_eq!(error.state(), Some(SqlState::QUERY_CANCELED), "{error}");
    assert_eq!(one(&mut client), 1);
}

#[test]
fn a_pool_and_the_async_client_encrypt_too() {
    let certificates = Certificates::new(&["localhost"]);
    let data = tempfile::tempdir().expect("a data directory");
    let server = certificates.server(data.path(), "require");
    let port = server.address().rsplit_once(':').expect("a port").1;
    let root = certificates.root();
    let url = format!("phantom://localhost:{port}/phantom?sslmode=verify-full&sslrootcert={root}");
    futures_lite::future::block_on(async {
        let client = phantomdb_client::Client::connect(&url).await.expect("it is let in");
        client.run("CREATE TABLE t (id int PRIMARY KEY, v int)").await.expect("a table");
        let mut sent = Vec::new();
        for id in 0..500_i32 {
            let parameters = phantomdb_client::params![id, id * 2];
            sent.push(
                client.send("INSERT INTO t VALUES ($1, $2)", &parameters).await.expect("sent"),
            );
        }
        for pending in sent {
            assert_eq!(pending.outcome().await.expect("inserted").affected, 1);
        }
        let rows = client.query("SELECT sum(v) FROM t", &[]).await.expect("a sum");
        assert_eq!(rows[0].get::<i64>(0).expect("a number"), 249_500);
    });
    // The doors of the single cores are the same server's, whatever their addresses.
    let options: Options = url.parse().expect("a URL");
    let pool = phantomdb_client::blocking::Pool::new(options, 4);
    for id in 0..20_i32 {
        let parameters = phantomdb_client::params![id];
        let row = pool.query("SELECT v FROM t WHERE id = $1", &parameters).expect("a row");
        assert_eq!(row[0].get::<i64>(0).expect("a number"), i64::from(id * 2));
    }
}

#[test]
fn without_a_certificate_who_insists_is_refused_and_who_prefers_goes_on() {
    let data = tempfile::tempdir().expect("a data directory");
    let server = builder(&data.path().join("data"), &["--cores", "1"]).start().expect("a server");
    assert_eq!(one(&mut native(&server, "sslmode=prefer").expect("in clear")), 1);
    let error = native(&server, "sslmode=require").err().expect("there is no TLS");
    assert!(error.to_string().contains("the server does not speak TLS"), "{error}");
    let Some(refused) = ask(&server, "host=127.0.0.1 sslmode=require", "SELECT 1") else { return };
    let said = refused.expect_err("there is no TLS");
    assert!(said.contains("server does not support SSL, but SSL was required"), "{said}");
    let preferred = ask(&server, "host=127.0.0.1 sslmode=prefer", "SELECT 1");
    assert_eq!(preferred.expect("psql is there").as_deref(), Ok("1\n"));
}

/// What a third party slips in before the encryption is not taken for the client's (CVE-2021-23214).
#[test]
fn what_comes_in_clear_behind_the_request_is_refused() {
    let certificates = Certificates::new(&["localhost"]);
    let data = tempfile::tempdir().expect("a data directory");
    let server = certificates.server(data.path(), "allow");
    for (request, named) in [(TLS, "SSL"), (GSS, "GSSAPI encryption")] {
        let mut speaker = Speaker::silent(&server);
        let mut injected = [0, 0, 0, 8].to_vec();
        injected.extend(request);
        injected.extend([0, 0, 0, 23, 0, 3, 0, 0]);
        injected.extend(b"user\0phantom\0\0");
        speaker.bytes(&injected);
        let answer = speaker.answer();
        assert_eq!(answer[0].field('C').as_deref(), Some("08P01"), "{answer:?}");
        let message = format!("received unencrypted data after {named} request");
        assert_eq!(answer[0].field('M'), Some(message));
        assert_eq!(answer.len(), 1, "and that is the end: {answer:?}");
    }
    let mut speaker = Speaker::silent(&server);
    speaker.packet(&GSS);
    assert_eq!(speaker.byte(), b'N');
    speaker.packet(&GSS);
    assert_eq!(speaker.answer()[0].field('C').as_deref(), Some("0A000"), "it may ask once");
}

#[test]
fn what_is_no_tls_is_closed_and_who_stalls_is_given_up() {
    let certificates = Certificates::new(&["localhost"]);
    let data = tempfile::tempdir().expect("a data directory");
    let server = certificates.server(data.path(), "allow");
    let request = [&[0, 0, 0, 8][..], &TLS].concat();
    let before = server.status().expect("its status").resident;
    // Some speak nonsense.
    for nonsense in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0; 100],
        &[22, 3, 1, 0, 5, 9, 0, 0, 1, 9],
        &[0xff; 70_000],
    ] {
        let mut socket = socket(server.pg_address());
        socket.write_all(&request).expect("sent");
        let mut answer = [0];
        socket.read_exact(&mut answer).expect("an answer");
        assert_eq!(answer, *b"S");
        // The server may have closed before all was sent.
        let _closed = socket.write_all(nonsense);
        let said = read_to_the_end(&mut socket);
        assert!(said.is_empty() || said[0] == 21, "an alert, or nothing: {said:?}");
    }
    // Others begin and stall, at both doors: the node is well beside them.
    let hello = [22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    let stalled: Vec<TcpStream> = (0..200)
        .map(|number| {
            let native = number % 2 == 0;
            let mut socket = socket(if native { server.address() } else { server.pg_address() });
            if !native {
                socket.write_all(&request).expect("sent");
            }
            socket.write_all(&hello).expect("sent");
            socket
        })
        .collect();
    let asked = Stopwatch::start();
    assert_eq!(one(&mut native(&server, "sslmode=require").expect("it is let in")), 1);
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    let grown = server.status().expect("its status").resident.saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes for who says nothing");
    // The native door waits ten seconds.
    let mut first = stalled.into_iter().next().expect("one of them");
    assert!(read_to_the_end(&mut first).is_empty());
}

#[test]
fn an_idle_encrypted_connection_holds_little() {
    const COUNT: usize = 400;
    const BYTES_MAX: u64 = 32 << 10;
    let certificates = Certificates::new(&["localhost"]);
    let data = tempfile::tempdir().expect("a data directory");
    let server = certificates.server(data.path(), "allow");
    let open = |count: usize, how: &str| -> Vec<Client> {
        (0..count).map(|_| native(&server, how).expect("it is let in")).collect()
    };
    drop(open(64, "sslmode=require"));
    sleep(Duration::from_millis(500));
    let (mut taken, mut held) = (Vec::new(), Vec::new());
    for how in ["sslmode=disable", "sslmode=require"] {
        let before = server.status().expect("its status").resident;
        let mut clients = open(COUNT, how);
        sleep(Duration::from_millis(500));
        let after = server.status().expect("its status").resident;
        taken.push(after.saturating_sub(before) / COUNT as u64);
        assert_eq!(one(clients.last_mut().expect("a client")), 1);
        held.push(clients);
    }
    println!("an idle connection in clear: {} bytes; encrypted: {}", taken[0], taken[1]);
    assert!(taken[1] < BYTES_MAX, "{} bytes an encrypted connection", taken[1]);
}

#[test]
fn wrong_files_keep_the_node_from_starting() {
    let certificates = Certificates::new(&["localhost"]);
    let data = tempfile::tempdir().expect("a data directory");
    let (certificate, key) = (certificates.path("node.pem"), certificates.path("root.pem"));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("permissions");
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    let arguments = ["--tls-certificate", &certificate, "--tls-key", &key];
    let (status, log) =
        builder(&data.path().join("data"), &arguments).start_in_vain().expect("it ends");
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("tls-key") && log.contains("holds no private key"), "{log}");
    let (status, log) =
        builder(&data.path().join("data"), &["--tls", "require"]).start_in_vain().expect("it ends");
    assert_eq!(status.code(), Some(2), "{log}");
    assert!(log.contains("wants tls-certificate and tls-key"), "{log}");
}

/// A key that is used beside the cores.
#[test]
fn a_long_rsa_key_serves_many_at_once() {
    let certificates = Certificates::new(&["localhost"]);
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "rsa:4096", "-nodes", "-subj", "/CN=localhost"]);
    command.args(["-addext", "subjectAltName=DNS:localhost"]);
    command.args(["-keyout", "node.key", "-out", "node.pem"]);
    command.current_dir(certificates.directory.path());
    let Some(made) = tools::run(command) else { return };
    assert!(made.status.success(), "{}", tools::text(made.stderr));
    let data = tempfile::tempdir().expect("a data directory");
    let server = certificates.server(data.path(), "require");
    let root = certificates.path("node.pem").display().to_string();
    // The certificate is an authority's, as openssl makes them, and vouches for itself.
    let full = format!("sslmode=verify-full&sslrootcert={root}");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..5 {
                    assert_eq!(one(&mut native(&server, &full).expect("it is let in")), 1);
                }
            });
        }
    });
    let how = format!("host=localhost hostaddr=127.0.0.1 sslmode=verify-full sslrootcert={root}");
    let Some(let_in) = ask(&server, &how, "SELECT 1") else { return };
    assert_eq!(let_in.as_deref(), Ok("1\n"));
}

#[test]
fn a_renewed_certificate_is_shown_after_a_signal() {
    let certificates = Certificates::new(&["old.example"]);
    let data = tempfile::tempdir().expect("a data directory");
    let server = certificates.server(data.path(), "require");
    let full = format!("sslmode=verify-full&sslrootcert={}", certificates.root());
    let mut before = native(&server, "sslmode=require").expect("it is let in");
    native(&server, &full).err().expect("the certificate is for another name");
    fs::write(certificates.path("node.pem"), "spoilt").expect("a file");
    server.signal("HUP").expect("a signal");
    let waited = Stopwatch::start();
    while !server.log().contains("the certificate stays as it was") {
        assert!(waited.elapsed() < PATIENCE, "{}", server.log());
        sleep(Duration::from_millis(10));
    }
    native(&server, "sslmode=require").expect("the old one still serves");
    certificates.issue(&["localhost"]);
    server.signal("HUP").expect("a signal");
    while native(&server, &full).is_err() {
        assert!(waited.elapsed() < PATIENCE, "{}", server.log());
        sleep(Duration::from_millis(10));
    }
    assert_eq!(one(&mut before), 1, "who was there stays");
    assert!(server.terminate().expect("it drains").success());
}
