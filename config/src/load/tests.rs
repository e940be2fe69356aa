//! Precedence, sources, limits and what is said about mistakes.

use super::*;
use crate::CeilingOrigin;

fn host() -> Host {
    Host {
        processors: 8,
        memory: Ok(MemoryCeiling { size: ByteSize::mib(4096), origin: CeilingOrigin::Ram }),
    }
}

/// A file with `text`, environment and flags joined on a host of 8 processors and 4 GiB.
fn load(
    text: Option<&str>,
    environment: &[(&str, &str)],
    flags: &[(Setting, &str)],
) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().expect("temporary directory");
    let file = text.map(|text| {
        let path = directory.path().join("phantom.toml");
        fs_err::write(&path, text).expect("file");
        path
    });
    let layers = Layers {
        file,
        environment: environment
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
        flags: flags.iter().map(|(setting, value)| (*setting, value.to_string())).collect(),
    };
    Config::load_on(&layers, &host())
}

/// The problems as printed, with the directory of the file left out.
fn problems(text: &str) -> Vec<String> {
    let error = load(Some(text), &[], &[]).expect_err("refused");
    error
        .problems
        .iter()
        .map(|problem| {
            let said = problem.to_string();
            said.split_once("phantom.toml")
                .map_or(said.clone(), |(_, rest)| format!("phantom.toml{rest}"))
        })
        .collect()
}

#[test]
fn rules_are_tables_or_lines() {
    let tables = "[[authentication]]\ntype = \"hostssl\"\ndatabase = [\"shop\", \"sameuser\"]\n\
                  address = \"10.0.0.0/8\"\nmethod = \"scram-sha-256\"\n\
                  [[authentication]]\nmethod = \"reject\"\n";
    let shown = "hostssl shop,sameuser all 10.0.0.0/8 scram-sha-256; host all all all reject";
    let of = |config: &Config| config.value(Setting::Authentication);
    assert_eq!(of(&load(Some(tables), &[], &[]).expect("rules")), shown);
    let lines = "authentication = [\"hostssl shop,sameuser all 10.0.0.0/8 scram-sha-256\", \
                 \"host all all all reject\"]";
    assert_eq!(of(&load(Some(lines), &[], &[]).expect("rules")), shown);
    let flag = (Setting::Authentication, "host all all all trust");
    assert_eq!(of(&load(Some(tables), &[], &[flag]).expect("rules")), flag.1);
    let wrong = "[[authentication]]\nmethod = \"trust\"\nuzer = \"x\"\n";
    assert_eq!(
        problems(wrong),
        ["phantom.toml:3: unknown setting \"uzer\"; did you mean \"user\"?"]
    );
    let methodless = problems("[[authentication]]\nuser = \"x\"\n");
    assert!(methodless[0].contains("rule 1: a rule is"), "{methodless:?}");
}

#[test]
fn defaults_follow_from_the_host() {
    let config = load(None, &[], &[]).expect("a configuration");
    assert_eq!(config.listen, HostPort::new("127.0.0.1", 7430));
    assert_eq!(config.core_listen, HostPort::new("127.0.0.1", 7500));
    assert_eq!((config.cores, config.partitions), (8, 32));
    assert_eq!(config.memory, ByteSize::mib(2048));
    assert_eq!(config.source(Setting::Listen), &Source::Default);
    assert_eq!(
        config.source(Setting::Memory).to_string(),
        "default: half of 4096MiB, the RAM of this host"
    );
    assert_eq!(config.pg_listen, Some(HostPort::new("127.0.0.1", 7432)));
    assert_eq!((config.http_listen, config.ready_file), (None, None));
}

#[test]
fn a_free_native_port_asks_for_free_ports_everywhere() {
    let config = load(None, &[], &[(Setting::Listen, "127.0.0.2:0")]).expect("a configuration");
    assert_eq!(config.core_listen, HostPort::new("127.0.0.2", 0));
    assert_eq!(config.pg_listen, Some(HostPort::new("127.0.0.2", 0)));
}

#[test]
fn the_last_layer_that_speaks_wins() {
    let file = "cores = 2\nmemory = \"256MiB\"\nlog-level = \"debug\"\nnode_id = 9\n";
    let environment =
        [("PHANTOM_MEMORY", "512MiB"), ("PHANTOM_LOG_LEVEL", "warn"), ("HOME", "/root")];
    let flags = [(Setting::LogLevel, "trace")];
    let config = load(Some(file), &environment, &flags).expect("a configuration");
    assert_eq!((config.cores, config.partitions, config.node_id), (2, 8, Some(9)));
    assert_eq!(config.memory, ByteSize::mib(512));
    assert_eq!(config.log_level, LogLevel::Trace);
    assert!(config.source(Setting::Cores).to_string().ends_with("phantom.toml:1"));
    assert!(config.source(Setting::NodeId).to_string().ends_with("phantom.toml:4"));
    assert_eq!(config.source(Setting::Memory).to_string(), "environment PHANTOM_MEMORY");
    assert_eq!(config.source(Setting::LogLevel).to_string(), "flag --log-level");
    assert!(config.warnings().is_empty());
}

#[test]
fn mistakes_are_told_together_with_their_lines() {
    let text = "memroy = \"1GiB\"\n\ncores = 1000\nlisten = \"nowhere\"\nmemory = \"12 parrots\"\nwal-segment-size = \"2GiB\"\njoin = [\"a:1\", \"b\"]\nvelocity = 3\n[cluster]\nname = 1\n";
    assert_eq!(
        problems(text),
        [
            "phantom.toml:1: unknown setting \"memroy\"; did you mean \"memory\"?",
            "phantom.toml:8: unknown setting \"velocity\"; see `phantomdb config show` for the known ones",
            "phantom.toml:9: unknown setting \"cluster\"; see `phantomdb config show` for the known ones",
            "phantom.toml:4: listen = \"nowhere\" is not an address; write host:port, such as 127.0.0.1:7430",
            "phantom.toml:3: cores = \"1000\" is not a whole number from 1 to 64",
            "phantom.toml:5: memory = \"12 parrots\" is not a size; write a number and a unit, such as 512MiB or 4GB",
            "phantom.toml:7: join = \"a:1,b\" has a part \"b\" that is not an address; write host:port, such as 127.0.0.1:7430",
            "phantom.toml:6: wal-segment-size = \"2GiB\" is more than the most allowed, 1GiB",
        ]
    );
}

#[test]
fn a_file_that_is_no_toml_names_its_line() {
    let said = problems("cores = 2\nlisten = \n");
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with("phantom.toml:2: "), "{}", said[0]);
    assert_eq!(
        problems("cores = {a = 1}\n"),
        ["phantom.toml:1: cores = \"{ a = 1 }\" is neither text, a number nor a list of texts"]
    );
}

#[test]
fn a_file_that_is_missing_is_named() {
    let layers = Layers { file: Some("/nowhere/phantom.toml".into()), ..Layers::default() };
    let error = Config::load_on(&layers, &host()).expect_err("refused");
    assert!(error.to_string().contains("/nowhere/phantom.toml"), "{error}");
}

#[test]
fn unknown_variables_are_warned_about() {
    let environment =
        [("PHANTOM_CORE", "2"), ("PHANTOM_URL", "phantom://x"), ("PHANTOM_TEST_BINARY", "1")];
    let config = load(None, &environment, &[]).expect("a configuration");
    assert_eq!(
        config.warnings(),
        [
            "environment variable PHANTOM_CORE sets nothing; did you mean PHANTOM_CORES?",
            "environment variable PHANTOM_TEST_BINARY sets nothing",
        ]
    );
}

#[test]
fn more_memory_than_there_is_is_warned_about() {
    let config = load(None, &[], &[(Setting::Memory, "8GiB")]).expect("a configuration");
    assert_eq!(
        config.warnings(),
        ["memory = 8GiB is more than this process can have (4096MiB, the RAM of this host)"]
    );
}

#[test]
fn doors_close_and_open() {
    let flags = [(Setting::PgListen, "127.0.0.1:0"), (Setting::HttpListen, "OFF")];
    let config =
        load(Some("http-listen = \"127.0.0.1:7480\""), &[], &flags).expect("a configuration");
    assert_eq!((config.pg_listen, config.http_listen), (Some(HostPort::new("127.0.0.1", 0)), None));
}

#[test]
fn a_certificate_and_its_key_come_together() {
    let both = "tls-certificate = \"/c.pem\"\ntls-key = \"/k.pem\"\n";
    let config = load(Some(both), &[], &[]).expect("a configuration");
    let files = TlsFiles { certificate: "/c.pem".into(), key: "/k.pem".into() };
    assert_eq!((config.tls, config.tls_files()), (TlsMode::Allow, Some(files)));
    assert_eq!(config.tls_minimum_version, TlsVersion::V1_2);
    let config = load(Some(both), &[], &[(Setting::Tls, "off")]).expect("a configuration");
    assert_eq!((config.tls, config.tls_files()), (TlsMode::Off, None));
    let config = load(None, &[], &[]).expect("a configuration");
    assert_eq!((config.tls, config.tls_files()), (TlsMode::Off, None));
    assert_eq!(
        problems("tls-certificate = \"/c.pem\""),
        ["phantom.toml:1: tls-certificate = \"/c.pem\" wants tls-key beside it"]
    );
    assert_eq!(
        problems("tls = \"require\"\ntls-minimum-version = \"1.1\""),
        [
            "phantom.toml:1: tls = \"require\" wants tls-certificate and tls-key",
            "phantom.toml:2: tls-minimum-version = \"1.1\" is neither 1.2 nor 1.3",
        ]
    );
}

/// What `config show` prints can be put in a file and gives the same configuration.
#[test]
fn what_is_shown_reads_back() {
    let flags =
        [(Setting::Memory, "1GiB"), (Setting::Join, "a:1,b:2"), (Setting::LockTimeout, "250ms")];
    let config = load(None, &[], &flags).expect("a configuration");
    let text: String = config
        .show()
        .iter()
        .map(|line| format!("{} = \"{}\"\n", line.setting.name(), line.value))
        .collect();
    let again = load(Some(&text), &[], &[]).expect("a configuration");
    let values = |config: &Config| {
        config.show().into_iter().map(|line| (line.setting, line.value)).collect::<Vec<_>>()
    };
    assert_eq!(values(&config), values(&again));
}
