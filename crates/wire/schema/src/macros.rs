//! What generated code writes once per shape. Guarantee: an expansion is two matches over member indexes and nothing
//! else, so a shape costs little to compile.

/// Implements [`crate::Shape`] and [`crate::Cell`] for a struct: its table, then index and field of each member.
#[macro_export]
macro_rules! structure {
    ($name:ident, $schema:expr, { $($index:literal => $field:ident),* $(,)? }) => {
        impl $crate::Shape for $name {
            fn schema(&self) -> &'static $crate::Schema {
                &$schema
            }
            fn value(&self, index: usize) -> Option<$crate::Value<'_>> {
                match index {
                    $($index => $crate::Cell::value(&self.$field),)*
                    _ => None,
                }
            }
            fn place(&mut self, index: usize) -> Option<$crate::Place<'_>> {
                match index {
                    $($index => Some($crate::Cell::place(&mut self.$field)),)*
                    _ => None,
                }
            }
        }

        impl $crate::Cell for $name {
            fn value(&self) -> Option<$crate::Value<'_>> {
                Some($crate::Value::Structure(self))
            }
            fn place(&mut self) -> $crate::Place<'_> {
                $crate::Place::Structure(self)
            }
        }
    };
}

/// Implements [`crate::Shape`] and [`crate::Cell`] for an enum that is a union: its table, then index and variant of each
/// member. Filling a member makes it the one that is there. An empty union is its first member, empty.
#[macro_export]
macro_rules! union {
    ($name:ident, $schema:expr, { $first:literal => $first_variant:ident $(, $index:literal => $variant:ident)* $(,)? }) => {
        impl Default for $name {
            fn default() -> Self {
                Self::$first_variant(Default::default())
            }
        }

        impl $crate::Shape for $name {
            fn schema(&self) -> &'static $crate::Schema {
                &$schema
            }
            fn value(&self, index: usize) -> Option<$crate::Value<'_>> {
                match (index, self) {
                    ($first, Self::$first_variant(member)) => $crate::Cell::value(member),
                    $(($index, Self::$variant(member)) => $crate::Cell::value(member),)*
                    _ => None,
                }
            }
            fn place(&mut self, index: usize) -> Option<$crate::Place<'_>> {
                match index {
                    $first => *self = Self::$first_variant(Default::default()),
                    $($index => *self = Self::$variant(Default::default()),)*
                    _ => return None,
                }
                Some(match self {
                    Self::$first_variant(member) => $crate::Cell::place(member),
                    $(Self::$variant(member) => $crate::Cell::place(member),)*
                })
            }
        }

        impl $crate::Cell for $name {
            fn value(&self) -> Option<$crate::Value<'_>> {
                Some($crate::Value::Structure(self))
            }
            fn place(&mut self) -> $crate::Place<'_> {
                $crate::Place::Structure(self)
            }
        }
    };
}

/// Declares a closed enum with the text of each value.
#[macro_export]
macro_rules! enumeration {
    ($(#[$doc:meta])* $vis:vis $name:ident { $first:ident = $first_text:literal $(, $variant:ident = $text:literal)* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $name {
            #[doc = concat!("`", $first_text, "`")]
            #[default]
            $first,
            $(#[doc = concat!("`", $text, "`")] $variant,)*
        }

        impl $name {
            /// All values, in the model's order.
            $vis const ALL: &'static [Self] = &[Self::$first, $(Self::$variant),*];

            /// The value's text on the wire.
            #[must_use]
            $vis const fn as_str(self) -> &'static str {
                match self {
                    Self::$first => $first_text,
                    $(Self::$variant => $text,)*
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = ();

            fn from_str(text: &str) -> Result<Self, ()> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text).ok_or(())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::Enumeration for $name {
            fn assign(&mut self, text: &str) -> bool {
                match text.parse() {
                    Ok(value) => {
                        *self = value;
                        true
                    }
                    Err(()) => false,
                }
            }
        }

        impl $crate::Cell for $name {
            fn value(&self) -> Option<$crate::Value<'_>> {
                Some($crate::Value::String(self.as_str()))
            }
            fn place(&mut self) -> $crate::Place<'_> {
                $crate::Place::Enum(self)
            }
        }
    };
}

/// Declares the error enum of a service: per error its struct, message field and place in the table; then the place of
/// the error of each role, in the order of [`crate::Role::ALL`].
#[macro_export]
macro_rules! errors {
    ($table:expr, roles { $($role:ident => $role_constructor:ident @ $role_index:literal),* $(,)? },
     { $($index:literal $name:ident . $message:ident = $constructor:ident $kind:tt $rest:tt),* $(,)? }) => {
        /// What the service answers instead of a result.
        #[derive(Debug)]
        pub enum Error {
            $(#[doc = concat!("`", stringify!($name), "`")] $name($name),)*
            /// A failure that is ours: logged where the request ends, answered as an internal error.
            Fault(base_types::Fault),
        }

        impl Error {
            $(
                #[doc = concat!("`", stringify!($name), "` with this message.")]
                #[must_use]
                pub fn $constructor(message: impl Into<String>) -> Self {
                    Self::$name($crate::errors!(@build $name $message message $kind $rest))
                }
            )*
        }

        impl From<base_types::Fault> for Error {
            fn from(fault: base_types::Fault) -> Self {
                Self::Fault(fault)
            }
        }

        $(impl From<$name> for Error {
            fn from(error: $name) -> Self {
                Self::$name(error)
            }
        })*

        impl std::fmt::Display for Error {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                use $crate::ServiceError as _;
                write!(f, "{}: {}", self.code(), self.message())
            }
        }

        impl std::error::Error for Error {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                match self {
                    Self::Fault(fault) => Some(fault),
                    _ => None,
                }
            }
        }

        impl $crate::ServiceError for Error {
            fn by_role(role: $crate::Role, message: String) -> Self {
                match role {
                    $($crate::Role::$role => Self::$role_constructor(message),)*
                }
            }
            fn by_name(name: &str, message: String) -> Option<Self> {
                match name {
                    $(stringify!($name) => Some(Self::$constructor(message)),)*
                    _ => None,
                }
            }
            fn schema(&self) -> &'static $crate::ErrorSchema {
                let index = match self {
                    $(Self::$name(_) => $index,)*
                    Self::Fault(fault) => match $crate::Role::of_fault(fault) {
                        $($crate::Role::$role => $role_index,)*
                    },
                };
                &$table[index]
            }
            fn shape(&self) -> Option<&dyn $crate::Shape> {
                match self {
                    $(Self::$name(error) => Some(error),)*
                    Self::Fault(_) => None,
                }
            }
            fn modelled_message(&self) -> Option<&str> {
                match self {
                    $(Self::$name(error) => error.$message.as_deref(),)*
                    Self::Fault(_) => None,
                }
            }
            fn fault(&self) -> Option<&base_types::Fault> {
                match self {
                    Self::Fault(fault) => Some(fault),
                    _ => None,
                }
            }
        }
    };
    (@build $name:ident $field:ident $message:ident plain whole) => {
        $name { $field: Some($message.into()) }
    };
    (@build $name:ident $field:ident $message:ident plain more) => {
        $name { $field: Some($message.into()), ..Default::default() }
    };
    (@build $name:ident $field:ident $message:ident $kind:literal whole) => {
        $name { $field: Some($message.into()), r#type: Some($kind.to_owned()) }
    };
    (@build $name:ident $field:ident $message:ident $kind:literal more) => {
        $name { $field: Some($message.into()), r#type: Some($kind.to_owned()), ..Default::default() }
    };
}
