//! Joins the layers and checks every value against its limits.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::authentication::AuthenticationRule;
use crate::limits::{copies, door, duration, node_id, number, path, period, size};
use crate::memory::MemoryCeiling;
use crate::source::{ConfigError, Problem, Source};
use crate::token::JoinToken;
use crate::{
    ByteSize, ENVIRONMENT_PREFIX, HostPort, LogLevel, SETTINGS, Setting, TlsFiles, TlsMode,
    TlsVersion, file, format_duration, memory, suggest,
};

/// The port of core 0 when nothing else is said; core k has the k-th port after it.
pub const CORE_PORT_FIRST: u16 = 7500;
/// The native port.
pub const NATIVE_PORT: u16 = 7430;
/// The port of the PostgreSQL protocol when nothing else is said.
pub const POSTGRES_PORT: u16 = 7432;
/// Partitions a core when nothing else is said: enough to spread a table evenly, few enough
/// that each has a memtable worth flushing.
pub const PARTITIONS_PER_CORE: u32 = 4;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Variables that begin like settings and belong to the client commands.
const CLIENT_VARIABLES: [&str; 4] =
    ["PHANTOM_CONFIG", "PHANTOM_URL", "PHANTOM_PASSWORD", "PHANTOM_HISTORY"];

/// What the settings are read from.
#[derive(Clone, Default, Debug)]
pub struct Layers {
    /// The configuration file, if one was named.
    pub file: Option<PathBuf>,
    /// Environment variables; those without the `PHANTOM_` prefix are passed over.
    pub environment: Vec<(String, String)>,
    /// Flags of the command line.
    pub flags: Vec<(Setting, String)>,
}

/// The configuration of one node, checked.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// Directory that holds the log and the tables.
    pub data_dir: PathBuf,
    /// The shared native door.
    pub listen: HostPort,
    /// Core 0's own native door; core k has the k-th port after it, or a free one when it is 0.
    pub core_listen: HostPort,
    /// The PostgreSQL door; closed when absent.
    pub pg_listen: Option<HostPort>,
    /// The HTTP door; closed when absent.
    pub http_listen: Option<HostPort>,
    /// Whether clients may or must encrypt; unless it is off, both files are named.
    pub tls: TlsMode,
    /// PEM file of the node's certificate.
    pub tls_certificate: Option<PathBuf>,
    /// PEM file of its key.
    pub tls_key: Option<PathBuf>,
    /// The oldest version of TLS that is spoken.
    pub tls_minimum_version: TlsVersion,
    /// Number of cores (executors), 1 to 64.
    pub cores: u16,
    /// Partitions of a new data directory, 1 to 4096.
    pub partitions: u32,
    /// This node's number, 1 to 65535, where somebody has said it.
    pub node_id: Option<u16>,
    /// Nodes of the cluster to join; empty for a node of its own.
    pub join: Vec<HostPort>,
    /// What all nodes of the cluster know and nobody else.
    pub join_token: Option<JoinToken>,
    /// Where this node stands: tiers as `key=value`, separated by commas.
    pub locality: String,
    /// Copies of each partition: 1, 3, 5 or 7.
    pub replication_factor: u8,
    /// Where the node says that it serves.
    pub ready_file: Option<PathBuf>,
    /// The memory budget of the whole node, at least 64 MiB.
    pub memory: ByteSize,
    /// Least severe log line that is written.
    pub log_level: LogLevel,
    /// Who may come in from where; the first rule that fits decides.
    pub authentication: Vec<AuthenticationRule>,
    /// Native connections at one time, node-wide.
    pub connections_max: u32,
    /// How long a statement waits for a row lock.
    pub lock_timeout: Duration,
    /// How long versions of rows stay readable after they were replaced.
    pub retention: Duration,
    /// How long a transaction's snapshot keeps the versions that it sees.
    pub snapshot_age_max: Duration,
    /// How long open statements may go on after SIGTERM.
    pub drain_timeout: Duration,
    /// Length of one segment of the write-ahead log.
    pub wal_segment_size: ByteSize,
    /// Bytes a second that the node reads to look for damage in its table files; 0 for none.
    pub scrub_rate: ByteSize,
    /// A search through all table files begins no sooner than this after the one before.
    pub scrub_interval: Duration,
    sources: Vec<Source>,
    warnings: Vec<String>,
}

/// One line of `config show`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// Whose value.
    pub setting: Setting,
    /// The value as it would be written in the file.
    pub value: String,
    /// Where it came from.
    pub source: Source,
}

impl Config {
    /// Joins `layers` and checks every value.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(layers: &Layers) -> Result<Self, ConfigError> {
        let host = Host::look();
        Self::load_on(layers, &host)
    }

    /// The defaults with nothing from file, environment or flags, as on a host where nobody
    /// configured anything.
    ///
    /// # Errors
    /// The host does not tell how much memory it has.
    pub fn defaults() -> Result<Self, ConfigError> {
        Self::load(&Layers::default())
    }

    pub(crate) fn load_on(layers: &Layers, host: &Host) -> Result<Self, ConfigError> {
        let mut values = Values::gather(layers);
        let listen = values
            .take(Setting::Listen, HostPort::parse)
            .unwrap_or_else(|| HostPort::new("127.0.0.1", NATIVE_PORT));
        let core_listen = values.take(Setting::CoreListen, HostPort::parse).unwrap_or_else(|| {
            values.derived(Setting::CoreListen, "from listen".into());
            HostPort::new(listen.host.clone(), if listen.port == 0 { 0 } else { CORE_PORT_FIRST })
        });
        let pg_listen = values.take(Setting::PgListen, door).unwrap_or_else(|| {
            values.derived(Setting::PgListen, "from listen".into());
            let port = if listen.port == 0 { 0 } else { POSTGRES_PORT };
            Some(HostPort::new(listen.host.clone(), port))
        });
        let cores = values.take(Setting::Cores, |text| number(text, 1..=64)).map_or_else(
            || {
                values.derived(Setting::Cores, "the processors this process may use".into());
                host.processors
            },
            |cores| cores as u16,
        );
        let partitions =
            values.take(Setting::Partitions, |text| number(text, 1..=4096)).map_or_else(
                || {
                    values.derived(Setting::Partitions, format!("{PARTITIONS_PER_CORE} a core"));
                    u32::from(cores) * PARTITIONS_PER_CORE
                },
                |partitions| partitions as u32,
            );
        let memory = values.memory(host);
        let (tls, tls_certificate, tls_key) = values.tls();
        let config = Self {
            data_dir: values
                .take(Setting::DataDir, path)
                .flatten()
                .unwrap_or_else(|| "phantom-data".into()),
            core_listen,
            pg_listen,
            http_listen: values.take(Setting::HttpListen, door).flatten(),
            listen,
            tls,
            tls_certificate,
            tls_key,
            tls_minimum_version: values
                .take(Setting::TlsMinimumVersion, TlsVersion::parse)
                .unwrap_or(TlsVersion::V1_2),
            cores,
            partitions,
            node_id: values.take(Setting::NodeId, node_id).flatten(),
            join: values.take(Setting::Join, HostPort::parse_list).unwrap_or_default(),
            join_token: values.take(Setting::JoinToken, JoinToken::parse).flatten(),
            locality: values
                .take(Setting::Locality, |text| Ok(text.trim().to_owned()))
                .unwrap_or_default(),
            replication_factor: values.take(Setting::ReplicationFactor, copies).unwrap_or(1),
            ready_file: values.take(Setting::ReadyFile, path).flatten(),
            memory,
            log_level: values.take(Setting::LogLevel, LogLevel::parse).unwrap_or(LogLevel::Info),
            authentication: values
                .take(Setting::Authentication, AuthenticationRule::parse_list)
                .unwrap_or_else(AuthenticationRule::defaults),
            connections_max: values
                .take(Setting::ConnectionsMax, |text| number(text, 1..=1_000_000))
                .unwrap_or(16_384) as u32,
            lock_timeout: values
                .take(Setting::LockTimeout, |text| duration(text, Duration::from_millis(1)))
                .unwrap_or(Duration::from_secs(10)),
            retention: values
                .take(Setting::Retention, |text| duration(text, Duration::from_secs(1)))
                .unwrap_or(Duration::from_secs(60)),
            snapshot_age_max: values
                .take(Setting::SnapshotAgeMax, |text| duration(text, Duration::from_secs(1)))
                .unwrap_or(Duration::from_secs(3600)),
            drain_timeout: values
                .take(Setting::DrainTimeout, |text| duration(text, Duration::ZERO))
                .unwrap_or(Duration::from_secs(10)),
            wal_segment_size: values
                .take(Setting::WalSegmentSize, |text| {
                    size(text, ByteSize::mib(1), ByteSize::mib(1024))
                })
                .unwrap_or(ByteSize::mib(32)),
            scrub_rate: values
                .take(Setting::ScrubRate, |text| {
                    size(text, ByteSize::bytes(0), ByteSize::mib(1024))
                })
                .unwrap_or(ByteSize::mib(8)),
            scrub_interval: values
                .take(Setting::ScrubInterval, |text| {
                    period(text, Duration::from_secs(60), 365 * DAY)
                })
                .unwrap_or(7 * DAY),
            sources: values.sources,
            warnings: values.warnings,
        };
        if values.problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError { problems: values.problems })
        }
    }

    /// The files that connections are encrypted by; none where they are not.
    pub fn tls_files(&self) -> Option<TlsFiles> {
        let files = self.tls_certificate.clone().zip(self.tls_key.clone());
        let files = files.filter(|_| self.tls != TlsMode::Off);
        files.map(|(certificate, key)| TlsFiles { certificate, key })
    }

    /// Where the value of `setting` came from.
    pub fn source(&self, setting: Setting) -> &Source {
        &self.sources[setting as usize]
    }

    /// What is odd but no error; to be logged when the node starts.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Every setting with its value, as the file would write it, and its source.
    pub fn show(&self) -> Vec<Shown> {
        SETTINGS
            .iter()
            .map(|row| Shown {
                setting: row.setting,
                value: self.value(row.setting),
                source: self.source(row.setting).clone(),
            })
            .collect()
    }

    fn value(&self, setting: Setting) -> String {
        let closed_or =
            |door: &Option<HostPort>| door.as_ref().map_or("off".into(), HostPort::to_string);
        let path_or_none = |path: &Option<PathBuf>| {
            path.as_ref().map_or(String::new(), |path| path.display().to_string())
        };
        match setting {
            Setting::DataDir => self.data_dir.display().to_string(),
            Setting::Listen => self.listen.to_string(),
            Setting::CoreListen => self.core_listen.to_string(),
            Setting::PgListen => closed_or(&self.pg_listen),
            Setting::HttpListen => closed_or(&self.http_listen),
            Setting::Tls => self.tls.to_string(),
            Setting::TlsCertificate => path_or_none(&self.tls_certificate),
            Setting::TlsKey => path_or_none(&self.tls_key),
            Setting::TlsMinimumVersion => self.tls_minimum_version.to_string(),
            Setting::Cores => self.cores.to_string(),
            Setting::Partitions => self.partitions.to_string(),
            Setting::NodeId => self.node_id.map_or(String::new(), |node| node.to_string()),
            Setting::Join => {
                self.join.iter().map(HostPort::to_string).collect::<Vec<_>>().join(",")
            }
            // What is shown ends up in tickets and terminals.
            Setting::JoinToken => {
                self.join_token.as_ref().map_or(String::new(), |_| "(a secret)".to_owned())
            }
            Setting::Locality => self.locality.clone(),
            Setting::ReplicationFactor => self.replication_factor.to_string(),
            Setting::ReadyFile => path_or_none(&self.ready_file),
            Setting::Memory => self.memory.to_string(),
            Setting::LogLevel => self.log_level.to_string(),
            Setting::Authentication => {
                self.authentication.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
            }
            Setting::ConnectionsMax => self.connections_max.to_string(),
            Setting::LockTimeout => format_duration(self.lock_timeout),
            Setting::Retention => format_duration(self.retention),
            Setting::SnapshotAgeMax => format_duration(self.snapshot_age_max),
            Setting::DrainTimeout => format_duration(self.drain_timeout),
            Setting::WalSegmentSize => self.wal_segment_size.to_string(),
            Setting::ScrubRate => self.scrub_rate.to_string(),
            Setting::ScrubInterval => format_duration(self.scrub_interval),
        }
    }
}

/// What the host offers, as far as defaults follow from it.
pub(crate) struct Host {
    pub processors: u16,
    pub memory: Result<MemoryCeiling, String>,
}

impl Host {
    fn look() -> Self {
        Self {
            // A process that may not ask is given one core: it always works.
            processors: std::thread::available_parallelism()
                .map_or(1, |count| count.get().min(64) as u16),
            memory: memory::ceiling().map_err(|error| error.to_string()),
        }
    }
}

/// The text of every setting that somebody set, and what was found wrong so far.
struct Values {
    texts: BTreeMap<Setting, String>,
    sources: Vec<Source>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

impl Values {
    fn gather(layers: &Layers) -> Self {
        let mut values = Self {
            texts: BTreeMap::new(),
            sources: vec![Source::Default; SETTINGS.len()],
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        if let Some(path) = &layers.file {
            for entry in file::read(path, &mut values.problems) {
                values.set(entry.setting, entry.value, entry.source);
            }
        }
        for (name, value) in &layers.environment {
            values.environment(name, value);
        }
        for (setting, value) in &layers.flags {
            values.set(*setting, value.clone(), Source::Flag(*setting));
        }
        values
    }

    fn environment(&mut self, name: &str, value: &str) {
        let Some(key) = name.strip_prefix(ENVIRONMENT_PREFIX) else { return };
        if CLIENT_VARIABLES.contains(&name) {
            return;
        }
        let key = key.to_ascii_lowercase().replace('_', "-");
        match Setting::by_name(&key) {
            Some(setting) => {
                self.set(setting, value.to_owned(), Source::Environment(name.to_owned()))
            }
            None => {
                let nearest = suggest::nearest(&key, SETTINGS.iter().map(|row| row.name));
                let hint = nearest.and_then(Setting::by_name).map_or(String::new(), |setting| {
                    format!("; did you mean {}?", setting.environment_name())
                });
                self.warnings.push(format!("environment variable {name} sets nothing{hint}"));
            }
        }
    }

    fn set(&mut self, setting: Setting, value: String, source: Source) {
        self.texts.insert(setting, value);
        self.sources[setting as usize] = source;
    }

    fn derived(&mut self, setting: Setting, from: String) {
        // A value that was given and refused keeps the source that its problem names.
        if self.sources[setting as usize] == Source::Default {
            self.sources[setting as usize] = Source::Derived(from);
        }
    }

    /// The parsed value of `setting`; `None` when nobody set it or it is refused.
    fn take<T>(
        &mut self,
        setting: Setting,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.texts.get(&setting)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.problems.push(Problem::BadValue {
                    source: self.sources[setting as usize].clone(),
                    setting,
                    value: match setting {
                        Setting::JoinToken => "(a secret)".to_owned(),
                        _ => text.clone(),
                    },
                    reason,
                });
                None
            }
        }
    }

    /// Whether connections are encrypted, and the certificate and key they are encrypted by.
    fn tls(&mut self) -> (TlsMode, Option<PathBuf>, Option<PathBuf>) {
        let certificate = self.take(Setting::TlsCertificate, path).flatten();
        let key = self.take(Setting::TlsKey, path).flatten();
        let alone = match (&certificate, &key) {
            (Some(_), None) => Some((Setting::TlsCertificate, "wants tls-key beside it")),
            (None, Some(_)) => Some((Setting::TlsKey, "wants tls-certificate beside it")),
            _ => None,
        };
        if let Some((setting, reason)) = alone {
            self.take(setting, |_text| Err::<(), _>(reason.to_owned()));
        }
        let neither = certificate.is_none() && key.is_none();
        let given = self.take(Setting::Tls, |text| match TlsMode::parse(text)? {
            TlsMode::Allow | TlsMode::Require if neither => {
                Err("wants tls-certificate and tls-key".into())
            }
            mode => Ok(mode),
        });
        let mode = given.unwrap_or_else(|| {
            self.derived(Setting::Tls, "from tls-certificate".into());
            if certificate.is_some() { TlsMode::Allow } else { TlsMode::Off }
        });
        (mode, certificate, key)
    }

    /// The budget that was set, or half of the ceiling.
    fn memory(&mut self, host: &Host) -> ByteSize {
        let given =
            self.take(Setting::Memory, |text| size(text, MEMORY_MIN, ByteSize::bytes(u64::MAX)));
        match (given, &host.memory) {
            (Some(size), Ok(ceiling)) => {
                if size > ceiling.size {
                    self.warnings.push(format!(
                        "memory = {size} is more than this process can have ({ceiling})"
                    ));
                }
                size
            }
            (Some(size), Err(_)) => size,
            (None, Ok(ceiling)) => {
                self.derived(Setting::Memory, format!("half of {ceiling}"));
                // Whole mebibytes: the value is for people to read.
                ByteSize::mib(ceiling.size.as_u64() >> 21).max(MEMORY_MIN)
            }
            (None, Err(reason)) => {
                self.warnings
                    .push(format!("cannot tell how much memory there is ({reason}); set memory"));
                self.derived(Setting::Memory, "the host does not tell its memory".into());
                MEMORY_FALLBACK
            }
        }
    }
}

/// Below this, blocks, memtables and connections of even one core do not fit.
const MEMORY_MIN: ByteSize = ByteSize::mib(64);
/// Used on a host that does not tell how much memory it has.
const MEMORY_FALLBACK: ByteSize = ByteSize::mib(512);

#[cfg(test)]
mod tests;
