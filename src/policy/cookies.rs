//! interim
/// interim
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CookieMode {
    /// Stripped.
    #[default]
    Off,
    /// Passed.
    Pass,
}
