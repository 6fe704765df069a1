//! Configuration from several places: what is set later wins.

use super::problem::{ConfigError, Origin, Problem, nearest};
use super::settings::SETTINGS;
use super::value::{Entry, Value};
use super::{Config, key_path};
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

/// A configuration file may be this long, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// What the variables of the environment begin with.
const PREFIX: &str = "GRID_";

/// Builds a [`Config`] from layers, each over those before it: the compiled-in default, then as called.
///
/// ```
/// # use grid_node::config::Layers;
/// let config = Layers::new()
///     .text("mine.toml", "[cluster]\nname = 'shop'")
///     .environment([("GRID_LOG__LEVEL".into(), "debug".into())])
///     .flag("--bind", "bind", "0.0.0.0:5701")
///     .build()?;
/// assert_eq!(config.cluster().name, "shop");
/// # Ok::<(), grid_node::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Layers {
    config: Config,
}

impl Layers {
    /// The default alone.
    pub fn new() -> Self {
        Layers::default()
    }

    /// A file, of at most 1 MiB.
    pub fn file(mut self, path: &Path) -> Self {
        match read_file(path) {
            Ok(text) => self.text(&path.display().to_string(), &text),
            Err(why) => {
                let origin = Origin::File(path.display().to_string().into(), 0);
                self.config.problems.push(Problem::new(&origin, why));
                self
            }
        }
    }

    /// A text in the format of `grid.toml`, with a name for messages.
    pub fn text(mut self, name: &str, text: &str) -> Self {
        self.config.apply_toml(&Arc::from(name), text);
        self
    }

    /// Variables of the environment, such as `std::env::vars_os()`; those that do not begin with `GRID_`
    /// are ignored, and so are those that Kubernetes sets for a service of the name "grid".
    pub fn environment(
        mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        for (variable, value) in variables {
            let Some(variable) = variable.to_str().filter(|name| name.starts_with(PREFIX)) else {
                continue;
            };
            let origin = Origin::Variable(variable.to_owned());
            let key = key_of(variable);
            let problem = match value.into_string() {
                _ if is_service_link(variable) => continue,
                Ok(value) if SETTINGS.iter().any(|s| s.key == key) => {
                    let path = key_path(&key);
                    self.config.apply(&Entry { path, value: Value::Loose(value), origin });
                    continue;
                }
                Ok(_) => match nearest(&key, SETTINGS.iter().map(|s| s.key)) {
                    Some(near) => format!("unknown setting; did you mean {}?", variable_of(near)),
                    None => "unknown setting".to_owned(),
                },
                Err(_) => "not UTF-8 text".to_owned(),
            };
            self.config.problems.push(Problem::new(&origin, problem));
        }
        self
    }

    /// A flag of the command line that sets the key.
    pub fn flag(mut self, flag: &str, key: &str, value: &str) -> Self {
        let (value, origin) = (Value::Loose(value.to_owned()), Origin::Flag(flag.to_owned()));
        self.config.apply(&Entry { path: key_path(key), value, origin });
        self
    }

    /// The configuration.
    ///
    /// # Errors
    /// Everything that is wrong with the layers.
    pub fn build(self) -> Result<Config, ConfigError> {
        self.config.check()?;
        Ok(self.config)
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    use std::io::Read;
    let cannot = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::InvalidData => "not UTF-8 text".to_owned(),
        _ => format!("cannot read the file: {e}"),
    };
    let file = std::fs::File::open(path).map_err(cannot)?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(cannot)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err("longer than 1 MiB".to_owned());
    }
    Ok(text)
}

/// The key that a variable sets: `GRID_LIMITS__FRAME_BYTES_MAX` is `limits.frame-bytes-max`.
fn key_of(variable: &str) -> String {
    variable
        .strip_prefix(PREFIX)
        .unwrap_or_default()
        .to_lowercase()
        .replace("__", ".")
        .replace('_', "-")
}

/// The variable that sets a key.
fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").replace('-', "_").to_uppercase())
}

/// Kubernetes tells every container of a namespace where each service is. For one named "grid", or
/// "grid-" something, these variables begin as ours do.
fn is_service_link(variable: &str) -> bool {
    let Some((_, port)) = variable.rsplit_once("_PORT") else {
        return variable.ends_with("_SERVICE_HOST");
    };
    let protocol =
        |p: &str| ["TCP", "UDP", "SCTP"].iter().any(|name| p.split('_').any(|part| part == *name));
    variable.contains("_SERVICE_PORT") || port.is_empty() || protocol(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_variable_of_its_own_that_is_no_service_link() {
        for setting in SETTINGS {
            let variable = variable_of(setting.key);
            assert_eq!(key_of(&variable), setting.key);
            assert!(!is_service_link(&variable), "{variable}");
        }
        assert_eq!(variable_of("limits.frame-bytes-max"), "GRID_LIMITS__FRAME_BYTES_MAX");
    }

    #[test]
    fn the_variables_of_a_kubernetes_service_are_not_settings() {
        for link in [
            "GRID_SERVICE_HOST",
            "GRID_SERVICE_PORT",
            "GRID_PORT",
            "GRID_PORT_5701_TCP",
            "GRID_PORT_5701_TCP_ADDR",
            "GRID_ADMIN_SERVICE_PORT_HTTP",
            "GRID_ADMIN_PORT_8701_TCP_PROTO",
            "GRID_PORT_53_UDP",
        ] {
            assert!(is_service_link(link), "{link}");
        }
        assert!(!is_service_link("GRID_CLUSTER__NMAE") && !is_service_link("GRID_PORTS_MAX"));
    }
}
