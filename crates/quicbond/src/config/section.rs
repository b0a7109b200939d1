//! How a part of a configuration file is declared: once, and everything else follows from it.
//!
//! [`section!`] turns a list of keys (doc comment, name, type, default, [`Kind`]) into a struct, its
//! defaults, its reader and its description. The description feeds `quicbond config defaults` and the reference page, so
//! a key cannot exist without being documented, and the documentation cannot differ from what is read.

use super::kind::Kind;
use super::reader::Reader;
use toml::de::DeTable;

/// A part of a file: the file itself or one `[table]`.
pub(crate) trait Section: Sized + Default {
    /// This section under the name `name` (empty for the file itself), followed by its sub-sections.
    fn chapters(name: &'static str) -> Vec<Chapter>;

    /// What `table` says, with the default wherever it says nothing or something wrong; the wrong is told to `reader`.
    fn read(table: &DeTable<'_>, name: &'static str, reader: &mut Reader<'_>) -> Self;
}

/// A section described for people.
#[derive(Clone, Debug)]
pub(crate) struct Chapter {
    pub(crate) name: &'static str,
    pub(crate) about: String,
    pub(crate) keys: Vec<Key>,
}

/// A key described for people.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) about: String,
    /// What may be written, as the end of "write ...".
    pub(crate) accepts: String,
    /// In TOML; `None` if the key is unset unless somebody sets it.
    pub(crate) default: Option<String>,
    /// In TOML, for a key without a default.
    pub(crate) example: String,
}

impl Key {
    pub(crate) fn new<K: Kind>(name: &'static str, about: &str, kind: &K, default: &K::Value) -> Self {
        Self {
            name,
            about: prose(about),
            accepts: kind.accepts(),
            default: kind.show(default),
            example: kind.example(),
        }
    }

    /// What a file of defaults shows.
    pub(crate) fn shown(&self) -> &str {
        self.default.as_deref().unwrap_or(&self.example)
    }
}

/// Doc comments keep their leading blanks and line ends; prose has neither.
pub(crate) fn prose(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Declares a section; see the head of this module.
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        pub(crate) struct $name:ident {
            keys { $($(#[doc = $doc:literal])* $key:ident: $type:ty = $default:expr, $kind:expr;)* }
            sections { $($sub:ident: $sub_type:ty;)* }
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) struct $name {
            $($(#[doc = $doc])* pub(crate) $key: $type,)*
            $(pub(crate) $sub: $sub_type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)* $($sub: <$sub_type>::default(),)* }
            }
        }

        impl $crate::config::section::Section for $name {
            fn chapters(name: &'static str) -> Vec<$crate::config::section::Chapter> {
                use $crate::config::section::{Chapter, Key, prose};
                let default = Self::default();
                let keys =
                    vec![$(Key::new(stringify!($key), concat!($($doc, "\n"),*), &$kind, &default.$key),)*];
                let about = prose(concat!($($about, "\n"),*));
                let deeper: Vec<Vec<Chapter>> = vec![$(<$sub_type>::chapters(stringify!($sub)),)*];
                core::iter::once(Chapter { name, about, keys }).chain(deeper.into_iter().flatten()).collect()
            }

            fn read(
                table: &toml::de::DeTable<'_>,
                name: &'static str,
                reader: &mut $crate::config::reader::Reader<'_>,
            ) -> Self {
                reader.refuse_strangers(
                    table,
                    name,
                    &[$(stringify!($key),)* $(stringify!($sub),)*],
                );
                Self {
                    $($key: reader.value(table, name, stringify!($key), &$kind).unwrap_or_else(|| $default),)*
                    $($sub: reader.section(table, stringify!($sub)),)*
                }
            }
        }
    };
}
pub(crate) use section;
