//! The flags of the settings, made from the table of the `config` crate, and the way from the
//! command line to a [`Config`].

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use config::{Config, Layers, SETTINGS, Setting};

use super::exit::Failure;

/// The variable that names the configuration file when `--config` does not.
const CONFIG_VARIABLE: &str = "PHANTOM_CONFIG";

/// `--config` and one flag a setting.
#[derive(Clone, Default, Debug)]
pub struct SettingFlags {
    file: Option<PathBuf>,
    flags: Vec<(Setting, String)>,
}

impl SettingFlags {
    /// Joins file, environment and flags.
    ///
    /// # Errors
    /// Everything that is wrong with them, as a usage failure.
    pub fn load(&self) -> Result<Config, Failure> {
        let file =
            self.file.clone().or_else(|| std::env::var_os(CONFIG_VARIABLE).map(PathBuf::from));
        // A variable that is no Unicode cannot be one of ours: all our values are.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Config::load(&Layers { file, environment, flags: self.flags.clone() })
            .map_err(Failure::usage)
    }

    /// The same with `file` instead of what `--config` named.
    pub fn with_file(mut self, file: PathBuf) -> Self {
        self.file = Some(file);
        self
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags =
            Self { file: matches.get_one::<PathBuf>("config").cloned(), flags: Vec::new() };
        for row in &SETTINGS {
            if let Some(value) = matches.get_one::<String>(row.name) {
                flags.flags.push((row.setting, value.clone()));
            }
        }
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("Configuration file (TOML); PHANTOM_CONFIG names one too");
        SETTINGS.iter().fold(command.arg(file), |command, row| {
            let default = if row.default.is_empty() {
                String::new()
            } else {
                format!(" [default: {}]", row.default)
            };
            command.arg(
                Arg::new(row.name)
                    .long(row.name)
                    .value_name(value_name(row.setting))
                    .allow_hyphen_values(true)
                    .help(format!("{}{default}", row.help)),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// What stands for the value in the help text.
fn value_name(setting: Setting) -> &'static str {
    match setting {
        Setting::DataDir => "DIR",
        Setting::Listen | Setting::CoreListen | Setting::PgListen | Setting::HttpListen => {
            "HOST:PORT"
        }
        Setting::Join => "HOST:PORT,...",
        Setting::JoinToken => "SECRET",
        Setting::Locality => "KEY=VALUE,...",
        Setting::ReadyFile | Setting::TlsCertificate | Setting::TlsKey => "FILE",
        Setting::Tls => "MODE",
        Setting::TlsMinimumVersion => "VERSION",
        Setting::Memory | Setting::WalSegmentSize | Setting::ScrubRate => "SIZE",
        Setting::LogLevel => "LEVEL",
        Setting::LockTimeout
        | Setting::Retention
        | Setting::SnapshotAgeMax
        | Setting::DrainTimeout
        | Setting::ScrubInterval => "DURATION",
        Setting::Authentication => "RULES",
        Setting::Cores
        | Setting::Partitions
        | Setting::NodeId
        | Setting::ReplicationFactor
        | Setting::ConnectionsMax => "N",
    }
}
