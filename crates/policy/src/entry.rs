//! What a list of policies is made of: a name, a sentence, tunables and a constructor.

use core::fmt;

/// A number that a policy can be tuned with.
#[derive(Clone, Copy, Debug)]
pub struct Tunable {
    pub name: &'static str,
    pub about: &'static str,
    pub default: f64,
    pub min: f64,
    pub max: f64,
}

/// One policy in a list.
pub struct Entry<T: ?Sized + 'static> {
    pub name: &'static str,
    /// One line for `quicbond list` and the docs.
    pub about: &'static str,
    pub tunables: &'static [Tunable],
    pub build: fn(&Settings) -> Box<T>,
}

impl<T: ?Sized> Entry<T> {
    /// The entry called `name` in `list`.
    #[must_use]
    pub fn find<'a>(list: &[&'a Self], name: &str) -> Option<&'a Self> {
        list.iter().find(|e| e.name == name).copied()
    }

    /// Every tunable at its default.
    #[must_use]
    pub fn defaults(&self) -> Settings {
        Settings { values: self.tunables.iter().map(|t| (t.name, t.default)).collect() }
    }

    /// The defaults with `changes` laid over them.
    ///
    /// # Errors
    /// Names an unknown tunable or a value outside its range.
    pub fn settings(&self, changes: &[(&str, f64)]) -> Result<Settings, SettingsError> {
        let mut settings = self.defaults();
        for &(name, value) in changes {
            let tunable = self.tunables.iter().find(|t| t.name == name).ok_or_else(|| SettingsError {
                message: format!("{} has no setting {name:?}; it has {:?}", self.name, self.names()),
            })?;
            if !(tunable.min..=tunable.max).contains(&value) {
                return Err(SettingsError {
                    message: format!(
                        "{}.{name} is {value}, but must be within {}..={}",
                        self.name, tunable.min, tunable.max
                    ),
                });
            }
            settings.values.iter_mut().filter(|(n, _)| *n == name).for_each(|(_, v)| *v = value);
        }
        Ok(settings)
    }

    fn names(&self) -> Vec<&'static str> {
        self.tunables.iter().map(|t| t.name).collect()
    }
}

impl<T: ?Sized> fmt::Debug for Entry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Validated values for one entry's tunables.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    values: Vec<(&'static str, f64)>,
}

impl Settings {
    /// The value of `name`.
    ///
    /// # Panics
    /// If the policy asks for a tunable that its entry does not list: a bug that the conformance test finds.
    #[must_use]
    pub fn get(&self, name: &str) -> f64 {
        let found = self.values.iter().find(|(n, _)| *n == name);
        found.expect("a policy asks only for the tunables of its entry").1
    }
}

/// A setting that cannot be used, in words for the person who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    pub message: String,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for SettingsError {}
