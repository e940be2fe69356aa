//! The list of settings: one row each, from which the file's keys, the environment's names, the
//! flags and the reference table of `docs/operations.md` follow.

/// One setting. The order is that of `config show`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Setting {
    /// Where the node keeps its data.
    DataDir,
    /// The shared native door.
    Listen,
    /// The first of the single cores' native doors.
    CoreListen,
    /// The PostgreSQL door.
    PgListen,
    /// The HTTP door.
    HttpListen,
    /// Whether clients may or must encrypt.
    Tls,
    /// The node's certificate.
    TlsCertificate,
    /// Its key.
    TlsKey,
    /// The oldest version of TLS.
    TlsMinimumVersion,
    /// How many executors.
    Cores,
    /// How many partitions a new table's rows are spread over.
    Partitions,
    /// This node's number.
    NodeId,
    /// Nodes of an existing cluster.
    Join,
    /// What nodes of a cluster prove to each other that they know.
    JoinToken,
    /// Where this node stands.
    Locality,
    /// Copies of each partition.
    ReplicationFactor,
    /// Where the node says that it serves.
    ReadyFile,
    /// The memory budget of the node.
    Memory,
    /// Least severe log line that is written.
    LogLevel,
    /// Who may come in from where.
    Authentication,
    /// Native connections at one time.
    ConnectionsMax,
    /// How long a statement waits for a row lock.
    LockTimeout,
    /// `retention`
    Retention,
    /// `snapshot-age-max`
    SnapshotAgeMax,
    /// How long open work may take after SIGTERM.
    DrainTimeout,
    /// Length of one segment of the write-ahead log.
    WalSegmentSize,
    /// How fast the node looks for damage.
    ScrubRate,
    /// How often it does.
    ScrubInterval,
}

/// What is said about a setting, apart from its value.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// The setting.
    pub setting: Setting,
    /// Its key in the file, and after two dashes its flag.
    pub name: &'static str,
    /// The value used when nobody says anything, or how it is derived.
    pub default: &'static str,
    /// What it does, in one sentence.
    pub help: &'static str,
}

/// Every setting, in the order of the enum.
pub const SETTINGS: [Description; 28] = [
    Description {
        setting: Setting::DataDir,
        name: "data-dir",
        default: "phantom-data",
        help: "Directory that holds the log and the tables",
    },
    Description {
        setting: Setting::Listen,
        name: "listen",
        default: "127.0.0.1:7430",
        help: "Address of the native protocol; port 0 picks a free one",
    },
    Description {
        setting: Setting::CoreListen,
        name: "core-listen",
        default: "host of listen, port 7500 (0 when listen has port 0)",
        help: "Address of core 0's own door; core k listens on the port plus k, or on a free one where that is taken",
    },
    Description {
        setting: Setting::PgListen,
        name: "pg-listen",
        default: "host of listen, port 7432 (0 when listen has port 0)",
        help: "Address of the PostgreSQL protocol, or off",
    },
    Description {
        setting: Setting::HttpListen,
        name: "http-listen",
        default: "off",
        help: "Address of HTTP, or off",
    },
    Description {
        setting: Setting::Tls,
        name: "tls",
        default: "allow with a certificate, off without",
        help: "Whether clients may encrypt their connections: off, allow or require",
    },
    Description {
        setting: Setting::TlsCertificate,
        name: "tls-certificate",
        default: "",
        help: "PEM file of the node's certificate and those between it and the root",
    },
    Description {
        setting: Setting::TlsKey,
        name: "tls-key",
        default: "",
        help: "PEM file of the certificate's key, which nobody else may read",
    },
    Description {
        setting: Setting::TlsMinimumVersion,
        name: "tls-minimum-version",
        default: "1.2",
        help: "Oldest version of TLS that is spoken: 1.2 or 1.3",
    },
    Description {
        setting: Setting::Cores,
        name: "cores",
        default: "the processors this process may use",
        help: "Number of cores, each an executor of its own (1 to 64)",
    },
    Description {
        setting: Setting::Partitions,
        name: "partitions",
        default: "four a core",
        help: "Number of partitions of a new data directory (1 to 4096); fixed afterwards",
    },
    Description {
        setting: Setting::NodeId,
        name: "node-id",
        default: "1 for the first node of a cluster, the next one for a node that joins",
        help: "Number of this node in its cluster (1 to 65535); fixed afterwards",
    },
    Description {
        setting: Setting::Join,
        name: "join",
        default: "",
        help: "Addresses of nodes of the cluster to join, separated by commas; native doors, of which one must answer",
    },
    Description {
        setting: Setting::JoinToken,
        name: "join-token",
        default: "",
        help: "Secret that all nodes of a cluster share, 16 to 256 characters; without one only nodes on loopback make a cluster",
    },
    Description {
        setting: Setting::Locality,
        name: "locality",
        default: "",
        help: "Where this node stands, from the widest tier to the narrowest, such as region=eu,zone=a; copies of a partition are spread over them",
    },
    Description {
        setting: Setting::ReplicationFactor,
        name: "replication-factor",
        default: "1",
        help: "Copies of each partition of a new cluster, on distinct nodes (1, 3, 5 or 7)",
    },
    Description {
        setting: Setting::ReadyFile,
        name: "ready-file",
        default: "",
        help: "File that is written, as one JSON object, when the node serves",
    },
    Description {
        setting: Setting::Memory,
        name: "memory",
        default: "half of what the control group or the RAM allows",
        help: "Memory budget of the whole node (at least 64MiB)",
    },
    Description {
        setting: Setting::LogLevel,
        name: "log-level",
        default: "info",
        help: "Least severe log line that is written: error, warn, info, debug, trace or off",
    },
    Description {
        setting: Setting::Authentication,
        name: "authentication",
        default: "`host all all 127.0.0.0/8,::1/128 scram-if-set; host all all all scram-sha-256`",
        help: "Who may come in from where: rules of type, database, user, address and method, with semicolons between; the first that fits decides",
    },
    Description {
        setting: Setting::ConnectionsMax,
        name: "connections-max",
        default: "16384",
        help: "Native connections the node holds at one time (1 to 1000000)",
    },
    Description {
        setting: Setting::LockTimeout,
        name: "lock-timeout",
        default: "10s",
        help: "How long a statement waits for a row lock at most, before it fails with 55P03 (1ms to 1h)",
    },
    Description {
        setting: Setting::Retention,
        name: "retention",
        default: "1m",
        help: "How long versions of rows stay readable after they were replaced (1s to 1h)",
    },
    Description {
        setting: Setting::SnapshotAgeMax,
        name: "snapshot-age-max",
        default: "1h",
        help: "How long a transaction's snapshot keeps the versions that it sees; its reads fail with 72000 later (1s to 1h)",
    },
    Description {
        setting: Setting::DrainTimeout,
        name: "drain-timeout",
        default: "10s",
        help: "How long open statements may go on after SIGTERM (0 to 1h)",
    },
    Description {
        setting: Setting::WalSegmentSize,
        name: "wal-segment-size",
        default: "32MiB",
        help: "Length of one segment of the write-ahead log (1MiB to 1GiB)",
    },
    Description {
        setting: Setting::ScrubRate,
        name: "scrub-rate",
        default: "8MiB",
        help: "Bytes a second that the node reads in the background to look for damage in its table files, and as many in its log (0 for none, to 1GiB)",
    },
    Description {
        setting: Setting::ScrubInterval,
        name: "scrub-interval",
        default: "7d",
        help: "A search for damage through all table files begins so long after the one before (1m to 365d)",
    },
];

impl Setting {
    /// Its row of [`SETTINGS`].
    pub fn describe(self) -> &'static Description {
        &SETTINGS[self as usize]
    }

    /// Its key in the file, and after two dashes its flag.
    pub fn name(self) -> &'static str {
        self.describe().name
    }

    /// The environment variable that sets it: `PHANTOM_DATA_DIR` for `data-dir`.
    pub fn environment_name(self) -> String {
        format!("{ENVIRONMENT_PREFIX}{}", self.name().to_ascii_uppercase().replace('-', "_"))
    }

    /// The setting of that name; `_` counts as `-`.
    pub fn by_name(name: &str) -> Option<Self> {
        let name = name.replace('_', "-");
        SETTINGS.iter().find(|row| row.name == name).map(|row| row.setting)
    }
}

/// What the names of the environment variables begin with.
pub const ENVIRONMENT_PREFIX: &str = "PHANTOM_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (position, row) in SETTINGS.iter().enumerate() {
            assert_eq!(row.setting as usize, position, "{}", row.name);
            assert_eq!(Setting::by_name(row.name), Some(row.setting));
        }
    }

    #[test]
    fn names_follow_from_the_key() {
        assert_eq!(Setting::DataDir.environment_name(), "PHANTOM_DATA_DIR");
        assert_eq!(Setting::by_name("data_dir"), Some(Setting::DataDir));
        assert_eq!(Setting::by_name("datadir"), None);
    }

    #[test]
    fn the_reference_names_every_setting_with_its_default() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
        let reference = fs_err::read_to_string(path).expect("docs/operations.md");
        for row in &SETTINGS {
            let default = if row.default.is_empty() { "none" } else { row.default };
            let line = format!("| `{}` | {default} | {} |\n", row.name, row.help);
            assert!(reference.contains(&line), "docs/operations.md lacks: {line}");
        }
    }
}
