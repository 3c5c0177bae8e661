//! What is measured of a block, for training and for use alike.
//!
//! A row of numbers a block, in groups: what the text looks like, where it stands, what stands around it, how
//! often it repeats, what kind of page it is on. The first stage decides on these rows; the second on these and
//! on what the first said of the blocks around (`second`). Every feature has a name, a unit and a definition,
//! and stands in the row where its group is declared: nothing else knows the order.

pub mod first;
pub mod groups;
pub mod measured;
pub mod second;
pub mod shape;

/// One feature: a column of the rows.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// Its name within its group.
    pub name: &'static str,
    /// What its numbers count.
    pub unit: &'static str,
    /// What it is, in one line.
    pub definition: &'static str,
}

/// Declares a group of features: a struct of f32 with a definition each, written in the order of declaration.
macro_rules! group {
    ($(#[$doc:meta])* $group:ident { $($name:ident: $unit:literal, $definition:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $group {
            $(#[doc = $definition] pub $name: f32,)*
        }

        impl $group {
            /// Its features in the order that `write` writes them.
            pub const FEATURES: &'static [$crate::features::Feature] = &[
                $($crate::features::Feature { name: stringify!($name), unit: $unit, definition: $definition },)*
            ];

            /// Appends the numbers to a row.
            #[inline]
            pub fn write(&self, row: &mut Vec<f32>) {
                row.extend_from_slice(&[$(self.$name),*]);
            }
        }
    };
}
pub(crate) use group;

/// The features of the second stage, which begin with those of the first: name (`group.name`), unit, definition.
pub fn all() -> Vec<(String, &'static str, &'static str)> {
    let mut features = first::names();
    features.extend(second::names());
    features
}

/// Appends the features of one group under a prefix.
fn named(names: &mut Vec<(String, &'static str, &'static str)>, prefix: &str, group: &[Feature]) {
    names.extend(
        group
            .iter()
            .map(|f| (format!("{prefix}.{}", f.name), f.unit, f.definition)),
    );
}

/// 1 or 0.
#[inline]
fn flag(value: bool) -> f32 {
    f32::from(u8::from(value))
}

/// part / whole, where a whole under 1 counts as 1.
#[inline]
fn share(part: f32, whole: f32) -> f32 {
    part / whole.max(1.0)
}
