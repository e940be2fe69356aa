//! Who is let in at both doors, and who is not.

use crate::speaker::{Speaker, framed};
use crate::start;
use phantomdb_client::blocking::Client;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;
use test_support::{Server, Stopwatch};

const PASSWORD: &str = "open sesame";

/// A server on whose data directory the roles of these tests are.
fn server(data: &Path, arguments: &[&str]) -> Server {
    let server = start(data, &[&["--cores", "2"], arguments].concat());
    let mut control = Client::connect(&server.url()).expect("the user without a password");
    control
        .run(&format!(
            "CREATE USER ali PASSWORD '{PASSWORD}'; CREATE USER guest; CREATE ROLE staff; \
             CREATE USER late PASSWORD '{PASSWORD}' VALID UNTIL '2001-01-01'; \
             CREATE USER single PASSWORD '{PASSWORD}' CONNECTION LIMIT 1"
        ))
        .expect("roles");
    server
}

/// What the real psql says to one query, as a user with a password; `None` where there is none.
fn psql(server: &Server, user: &str, password: Option<&str>, more: &[&str]) -> Option<Output> {
    let (host, port) = server.pg_address().rsplit_once(':').expect("a host and a port");
    let mut command = Command::new("psql");
    command.args(["-X", "-A", "-t", "-w", "-h", host, "-p", port, "-U", user, "-d", "phantom"]);
    command.args(more).env("LC_ALL", "C").env_remove("PGPASSWORD");
    command.envs(password.map(|password| ("PGPASSWORD", password)));
    match command.output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("passed over: psql is not installed");
            None
        }
        Err(error) => panic!("running psql: {error}"),
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[test]
fn psql_comes_in_with_the_right_password_only() {
    let data = tempfile::tempdir().expect("a data directory");
    let server = server(&data.path().join("data"), &[]);
    let who = ["-c", "SELECT current_user, session_user"];
    let ask = |user, password| psql(&server, user, password, &who).map(|output| said(&output));
    let Some(ali) = ask("ali", Some(PASSWORD)) else { return };
    assert_eq!(ali, "ali|ali\n");
    assert_eq!(ask("guest", None).as_deref(), Some("guest|guest\n"), "no password is set");
    for (user, password) in [("ali", "guess"), ("nobody", PASSWORD), ("late", PASSWORD)] {
        let answer = ask(user, Some(password)).expect("psql is there");
        let refusal = format!("FATAL:  password authentication failed for user \"{user}\"");
        assert!(answer.contains(&refusal), "{answer}");
    }
    let without = ask("ali", None).expect("psql is there");
    assert!(without.contains("no password supplied"), "{without}");
    let staff = ask("staff", None).expect("psql is there");
    assert!(staff.contains("role \"staff\" is not permitted to log in"), "{staff}");

    let changed = ask("ali", Some(PASSWORD)).and_then(|_| {
        psql(&server, "ali", Some(PASSWORD), &["-c", "ALTER ROLE ali PASSWORD 'another'"])
    });
    assert_eq!(said(&changed.expect("psql is there")), "ALTER ROLE\n");
    assert_eq!(ask("ali", Some("another")).as_deref(), Some("ali|ali\n"));
    assert!(ask("ali", Some(PASSWORD)).expect("psql is there").contains("failed"));

    let log = server.log();
    assert!(log.contains("a client is refused"), "{log}");
    assert!(log.contains("\"user\":\"nobody\"") && log.contains("127.0.0.1"), "{log}");
    for secret in [PASSWORD, "guess", "another", "SCRAM-SHA-256$"] {
        assert!(!log.contains(secret), "{secret} is in the log: {log}");
    }
}

#[test]
fn passwords_outlive_the_node_and_are_not_stored() {
    let data = tempfile::tempdir().expect("a data directory");
    let data = data.path().join("data");
    let first = server(&data, &[]);
    let challenge = |server: &Server| {
        let mut speaker = Speaker::silent(server);
        let user = [("user", "nobody"), ("database", "phantom")];
        speaker.send_startup(&user);
        let asked = speaker.receive().expect("a question");
        assert_eq!((asked.kind, &asked.body[..4]), ('R', &[0, 0, 0, 10][..]));
        speaker.bytes(&initial(b"n,,n=,r=abc"));
        let answer = speaker.receive().expect("a challenge");
        let text = String::from_utf8_lossy(&answer.body[4..]).into_owned();
        text.split(',').find(|part| part.starts_with("s=")).expect("a salt").to_owned()
    };
    let salt = challenge(&first);
    assert!(first.terminate().expect("it stops").success());
    for entry in walk(&data) {
        let bytes = std::fs::read(&entry).expect("a file of the data directory");
        let found = bytes.windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes());
        assert!(!found, "{} holds a password", entry.display());
    }
    let second = start(&data, &["--cores", "1"]);
    assert_eq!(challenge(&second), salt, "who does not exist cannot be told by a salt that moves");
    Client::connect(&with_password(&second, "ali", PASSWORD)).expect("the right password");
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

fn with_password(server: &Server, user: &str, password: &str) -> String {
    let password = password.replace(' ', "%20");
    format!("phantom://{user}:{password}@{}/phantom", server.address())
}

#[test]
fn the_native_door_asks_the_same() {
    let data = tempfile::tempdir().expect("a data directory");
    let server = server(&data.path().join("data"), &[]);
    let connect = |user, password| Client::connect(&with_password(&server, user, password));
    let state = |user, password| match connect(user, password) {
        Ok(_) => panic!("{user} is let in"),
        Err(error) => error.state().map(|state| state.to_string()).unwrap_or_default(),
    };
    let mut ali = connect("ali", PASSWORD).expect("the right password");
    let rows = &ali.run("SELECT current_user").expect("a row")[0].rows;
    assert_eq!(rows[0].get::<String>(0).expect("a name"), "ali");
    assert_eq!(state("ali", "guess"), "28P01");
    assert_eq!(state("nobody", PASSWORD), "28P01");
    assert_eq!(state("staff", PASSWORD), "28000");
    let _one = connect("single", PASSWORD).expect("one session");
    assert_eq!(state("single", PASSWORD), "53300");

    let url = format!("phantom://ali@{}/phantom", server.address());
    let shell = |password: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phantomdb"));
        command.args(["sql", "--url", &url, "--format", "csv", "-c", "SELECT session_user"]);
        command.env_remove("PHANTOM_PASSWORD");
        command.envs(password.map(|password| ("PHANTOM_PASSWORD", password)));
        command.output().expect("phantomdb sql runs")
    };
    assert!(said(&shell(Some(PASSWORD))).contains("ali"));
    let refused = shell(Some("guess"));
    assert_eq!(refused.status.code(), Some(3), "{}", said(&refused));
    assert!(said(&refused).contains("password authentication failed for user \"ali\""));
    assert!(said(&shell(None)).contains("asks for the password"), "{}", said(&shell(None)));
}

#[test]
fn the_first_rule_that_fits_decides() {
    let data = tempfile::tempdir().expect("a data directory");
    let data = data.path().join("data");
    assert!(server(&data, &[]).terminate().expect("it stops").success());
    let rules = "host all guest all reject; host phantom +staff all trust; hostssl all all all trust; \
                 host phantom phantom all trust; host phantom late,single all scram-sha-256";
    let server = start(&data, &["--cores", "1", "--authentication", rules]);
    let mut control = Client::connect(&server.url()).expect("phantom is trusted");
    control.run("GRANT staff TO single").expect("a membership");
    let try_as = |user: &str| {
        let url = format!("phantom://{user}@{}/phantom", server.address());
        Client::connect(&url).map(drop).map_err(|error| error.to_string())
    };
    try_as("single").expect("a member of staff is trusted");
    let refused = try_as("guest").expect_err("rejected");
    assert!(refused.contains("rule rejects host \"127.0.0.1\", user \"guest\""), "{refused}");
    let unknown = try_as("ali").expect_err("no rule");
    assert!(unknown.contains("no authentication rule for host \"127.0.0.1\""), "{unknown}");
    assert!(unknown.contains("no encryption"), "{unknown}");
    control.run("REVOKE staff FROM single").expect("no membership");
    assert!(try_as("single").expect_err("asked").contains("password"), "no longer trusted");
}

/// The first answer of a log-in by SCRAM.
fn initial(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u32).to_be_bytes();
    framed('p', &[b"SCRAM-SHA-256\0", &length[..], message].concat())
}

#[test]
fn strangers_are_bounded() {
    let data = tempfile::tempdir().expect("a data directory");
    let server = server(&data.path().join("data"), &[]);
    let asked = || {
        let mut speaker = Speaker::silent(&server);
        speaker.send_startup(&[("user", "ali"), ("database", "phantom")]);
        assert_eq!(speaker.receive().expect("a question").kind, 'R');
        speaker
    };
    let refusal = |answer: &[u8]| {
        let mut speaker = asked();
        speaker.bytes(answer);
        let told = speaker.answer();
        let error = told.last().expect("a refusal");
        assert_eq!(error.kind, 'E', "{told:?}");
        error.field('C').expect("a state")
    };
    // A message of a mebibyte is refused by its header.
    assert_eq!(refusal(&[&b"p"[..], &(1_u32 << 20).to_be_bytes()].concat()), "08P01");
    assert_eq!(refusal(&framed('Q', b"SELECT 1\0")), "08P01");
    assert_eq!(refusal(&framed('p', b"MD5\0\0\0\0\0")), "08P01");
    assert_eq!(refusal(&initial(b"p=tls-unique,,n=,r=abc")), "08P01");
    assert_eq!(refusal(&initial(b"nonsense")), "08P01");
    // One that has gone, or goes in the middle, leaves nothing behind.
    drop(asked());
    let mut gone = asked();
    gone.bytes(&initial(b"n,,n=,r=abc"));
    drop(gone);
    // A refusal takes a while, and keeps nobody else waiting.
    let waiting: Vec<Speaker> = (0..20)
        .map(|_| {
            let mut speaker = asked();
            speaker.bytes(&initial(b"n,,n=,r=abc"));
            let challenge = speaker.receive().expect("a challenge");
            let text = String::from_utf8_lossy(&challenge.body[4..]).into_owned();
            let nonce = text.split(',').next().expect("a nonce").to_owned();
            let proof = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
            speaker.bytes(&framed('p', format!("c=biws,{nonce},p={proof}").as_bytes()));
            speaker
        })
        .collect();
    let watch = Stopwatch::start();
    let mut quick = Speaker::connect(&server);
    assert_eq!(quick.query("SELECT 1"), "1;");
    assert!(watch.elapsed() < Duration::from_millis(400), "{:?}", watch.elapsed());
    for mut speaker in waiting {
        let told = speaker.answer();
        assert_eq!(told.last().and_then(|error| error.field('C')).as_deref(), Some("28P01"));
    }
}
