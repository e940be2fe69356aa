//! `phantomdb config check|show`.

use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;

use super::exit::{Exit, Failure};
use super::settings::SettingFlags;

/// What to do with the configuration.
#[derive(Clone, Subcommand, Debug)]
pub enum ConfigCommand {
    /// Validate a configuration file, with what the environment and flags say on top
    Check {
        /// The file to validate; without it the one `--config` or PHANTOM_CONFIG names
        file: Option<PathBuf>,
        /// The settings given as flags
        #[command(flatten)]
        settings: SettingFlags,
    },
    /// Print every setting, its value and where the value came from
    Show {
        /// The settings given as flags
        #[command(flatten)]
        settings: SettingFlags,
    },
}

/// Runs the command.
///
/// # Errors
/// The configuration is wrong (usage), or standard output is closed.
pub fn run(command: ConfigCommand) -> Result<Exit, Failure> {
    let mut out = std::io::stdout().lock();
    let printed = match command {
        ConfigCommand::Check { file, settings } => {
            let settings = match file {
                Some(file) => settings.with_file(file),
                None => settings,
            };
            let config = settings.load()?;
            for warning in config.warnings() {
                eprintln!("warning: {warning}");
            }
            writeln!(out, "the configuration is valid")
        }
        ConfigCommand::Show { settings } => show(&settings.load()?, &mut out),
    };
    super::output::finish(printed)
}

/// Three columns: the setting, its value, where it came from.
fn show(config: &config::Config, out: &mut impl Write) -> std::io::Result<()> {
    let lines = config.show();
    let name_width = lines.iter().map(|line| line.setting.name().len()).max().unwrap_or(0);
    let value_width = lines.iter().map(|line| line.value.chars().count()).max().unwrap_or(0);
    for line in &lines {
        writeln!(
            out,
            "{:name_width$}  {:value_width$}  {}",
            line.setting.name(),
            line.value,
            line.source
        )?;
    }
    Ok(())
}
