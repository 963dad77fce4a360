//! One list for each table of a file: a key's name, type, default, range, flag and meaning are written
//! once, and the structure, its reading and its documentation follow from that.

use super::limits::Limits;
use super::types::Setting;

/// What there is to know about a key without reading it.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name with its table: `http.listen`, or `inputs[].name` in a list of tables.
    pub path: &'static str,
    /// What it means, as it stands in the documents.
    pub(crate) doc: &'static str,
    /// Its default as TOML, or in words what holds where it is left out.
    pub default: &'static str,
    /// The flag that sets it, where it has one of its own.
    pub flag: Option<&'static str>,
    /// Whether it can change while the server runs.
    pub is_live: bool,
    /// What it takes, as it stands in "expected …".
    pub(crate) takes: fn() -> String,
}

impl Key {
    /// What it means, in one line.
    #[must_use]
    pub fn meaning(&self) -> &'static str {
        self.doc.trim()
    }

    /// What can be written for it, with its range.
    #[must_use]
    pub fn takes(&self) -> String {
        (self.takes)()
    }

    /// The environment variable that sets it.
    #[must_use]
    pub fn variable(&self) -> String {
        super::environment::name(self.path)
    }

    /// Its name as people write about it: `inputs.name`.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.replace("[]", "")
    }
}

/// Which keys there are in one kind of file.
#[derive(Debug, Clone)]
pub struct Schema {
    /// All of them, in the order of the documents.
    pub keys: Vec<&'static Key>,
    /// Keys that people look for here and that belong elsewhere.
    pub misplaced: &'static [&'static str],
    /// What is said of them.
    pub misplaced_reason: &'static str,
    /// The page that lists the keys.
    pub page: &'static str,
}

/// What a key of this type takes within these limits.
#[must_use]
pub fn takes<T: Setting>(limits: &impl Limits<T>, has_auto: bool) -> String {
    let auto = if has_auto { " or \"auto\"" } else { "" };
    let takes = format!("{}{}{auto}", T::EXPECTED, limits.words());
    takes.trim_end_matches(',').to_owned()
}

/// The type of a key that may be left out.
pub trait Optional {
    /// What is written when it is not.
    type Inner: Setting;
}

impl<T: Setting> Optional for Option<T> {
    type Inner = T;
}

/// Makes a section: `pub struct Name("prefix.", host: Host) { /// Meaning. key: Type = default; }`.
///
/// The default is TOML, for a key that always has a value; `(else "words")` for a key that may be left
/// out, with what holds then; `(required, else "words")` for one that may not. The types of the latter
/// two are options. After the default may stand, in this order: `=> expression` for what `auto` means,
/// in which the host and the keys above can be named; `, range limits`; `, flag "--name"`; `, applies live` for what can
/// change while the server runs.
///
/// `with { /// Meaning. name: Type, }` behind it adds members that are no keys: they are empty when the
/// keys are read, for the room to fill.
///
/// A section whose prefix ends with `[].` is a list of tables, and is read once for each of them.
macro_rules! section {
    (
        $(#[$about:meta])+
        $vis:vis struct $Section:ident($prefix:literal $(, $host:ident: $Host:ty)?) {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $ty:ty = $default:tt $(=> $auto:expr)?
                $(, range $range:expr)? $(, flag $flag:literal)? $(, applies $live:ident)?;
            )+
        }
        $(with { $($(#[doc = $about_other:literal])+ $other:ident: $Other:ty,)+ })?
    ) => {
        $(#[$about])+
        #[derive(Debug, Clone, PartialEq)]
        $vis struct $Section {
            $($(#[doc = $doc])+ $vis $field: $ty,)+
            $($($(#[doc = $about_other])+ $vis $other: $Other,)+)?
        }

        impl $Section {
            /// The keys of this section, in the order of the documents.
            pub(super) const KEYS: &'static [$crate::settings::Key] = &[$($crate::settings::Key {
                path: concat!($prefix, stringify!($field)),
                doc: concat!($($doc),+),
                default: section!(@default $default),
                flag: section!(@option $($flag)?),
                is_live: section!(@is_there $($live)?),
                takes: || {
                    let limits = section!(@limits $($range)?);
                    section!(@takes $ty, $default, &limits, section!(@is_there $($auto)?))
                },
            }),+];

            pub(super) fn read(
                reader: &mut $crate::settings::Reader,
                table: &$crate::settings::Table,
                $($host: &$Host,)?
            ) -> Self {
                $(let _ = $host;)?
                let mut keys = Self::KEYS.iter();
                $(
                    let key = keys.next().expect("KEYS has an entry for each field");
                    let limits = section!(@limits $($range)?);
                    let $field: $ty =
                        section!(@read $default, reader, (key, table, &limits), $ty $(, $auto)?);
                )+
                Self { $($field,)+ $($($other: <$Other>::default(),)+)? }
            }

            /// Takes over what can change while the server runs.
            #[allow(dead_code, reason = "a model.toml is read anew as a whole")]
            pub(super) fn adopt(&mut self, new: &Self) {
                $(if section!(@is_there $($live)?) {
                    self.$field = new.$field.clone();
                })+
            }
        }
    };
    (@option) => { None };
    (@option $value:expr) => { Some($value) };
    (@is_there) => { false };
    (@is_there $what:expr) => { true };
    (@auto $ty:ty) => { None::<fn() -> $ty> };
    (@auto $ty:ty, $auto:expr) => { Some(|| $auto) };
    (@limits) => { $crate::settings::Any };
    (@limits $range:expr) => { $range };
    (@default ($(required,)? else $words:literal)) => { $words };
    (@default $default:tt) => { stringify!($default) };
    (@takes $ty:ty, ($(required,)? else $words:literal), $limits:expr, $auto:expr) => {
        $crate::settings::takes::<<$ty as $crate::settings::Optional>::Inner>($limits, $auto)
    };
    (@takes $ty:ty, $default:tt, $limits:expr, $auto:expr) => {
        $crate::settings::takes::<$ty>($limits, $auto)
    };
    (@read (required, else $words:literal), $reader:ident, ($($place:expr),+), $ty:ty) => {
        $reader.required($($place),+)
    };
    (@read (else $words:literal), $reader:ident, ($($place:expr),+), $ty:ty) => {
        $reader.optional($($place),+)
    };
    (@read $default:tt, $reader:ident, ($($place:expr),+), $ty:ty $(, $auto:expr)?) => {
        $reader.value($($place),+, section!(@auto $ty $(, $auto)?))
    };
}

pub(crate) use section;
