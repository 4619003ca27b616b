//! Keys of a table whose values are numbers, with a unit or without, each within its bounds.

use super::super::{Code, units};
use super::{Table, kind};
use crate::language::{Text, text};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::de::DeValue;

impl Table<'_> {
    /// A whole number within bounds.
    pub fn number<T>(&self, key: &'static str, bounds: RangeInclusive<T>, default: T) -> T
    where
        T: TryFrom<i64> + PartialOrd + Copy + Display,
    {
        #[cfg(test)]
        self.fact(key, serde_json::json!({ "default": default.to_string() }));
        self.bounded(key, bounds, || text!("the default is {default}", default)).unwrap_or(default)
    }

    /// A whole number within bounds, if it is there and right.
    pub fn number_given<T>(&self, key: &'static str, bounds: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i64> + PartialOrd + Copy + Display,
    {
        self.bounded(key, bounds, || text!("write a number within these bounds"))
    }

    fn bounded<T>(&self, key: &'static str, bounds: RangeInclusive<T>, hint: impl FnOnce() -> Text) -> Option<T>
    where
        T: TryFrom<i64> + PartialOrd + Copy + Display,
    {
        #[cfg(test)]
        self.fact(key, serde_json::json!({ "type": "integer", "minimum": bounds.start().to_string(), "maximum": bounds.end().to_string() }));
        let raw = self.raw(key)?;
        let DeValue::Integer(integer) = raw.value else {
            self.wrong_type(key, &raw, text!("a whole number"), text!("write it without quotes, unit or fraction"));
            return None;
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.and_then(|number| T::try_from(number).ok()).filter(|number| bounds.contains(number));
        if number.is_none() {
            let message = text!(
                "{key} must be between {least} and {most}",
                key = self.label(key),
                least = bounds.start(),
                most = bounds.end()
            );
            self.faults.add(Code::Range, &raw.place, message, hint());
        }
        number
    }

    /// A number that may have a fraction, within bounds.
    pub fn fraction(&self, key: &'static str, bounds: RangeInclusive<f64>, default: f64) -> f64 {
        #[cfg(test)]
        self.fact(key, serde_json::json!({ "type": "number", "minimum": bounds.start().to_string(), "maximum": bounds.end().to_string(), "default": default.to_string() }));
        let Some(raw) = self.raw(key) else { return default };
        let read = match raw.value {
            DeValue::Float(float) => float.as_str().replace('_', "").parse().ok(),
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(|n| n as f64),
            _ => {
                self.wrong_type(key, &raw, text!("a number"), text!("write it without quotes, such as 0.05"));
                return default;
            }
        };
        match read.filter(|number: &f64| bounds.contains(number)) {
            Some(number) => number,
            None => {
                let message = text!(
                    "{key} must be between {least} and {most}",
                    key = self.label(key),
                    least = bounds.start(),
                    most = bounds.end()
                );
                self.faults.add(Code::Range, &raw.place, message, text!("the default is {default}", default));
                default
            }
        }
    }

    /// A duration such as `"2s"` within bounds.
    pub fn duration(&self, key: &'static str, bounds: RangeInclusive<Duration>, default: Duration) -> Duration {
        #[cfg(test)]
        self.fact(key, serde_json::json!({ "$ref": "#/$defs/duration", "default": units::show_duration(default) }));
        let hint = text!("write a whole number with ms, s, m, h or d, such as \"500ms\" or \"2s\"");
        self.unit(key, &bounds, units::duration, |value| units::show_duration(*value), hint).unwrap_or(default)
    }

    /// A size such as `"64MiB"` in bytes, within bounds.
    pub fn size(&self, key: &'static str, bounds: RangeInclusive<u64>, default: u64) -> u64 {
        #[cfg(test)]
        self.fact(key, serde_json::json!({ "$ref": "#/$defs/size", "default": units::show_size(default) }));
        let hint = text!("write a whole number with KiB, MiB or GiB, such as \"64MiB\"");
        self.unit(key, &bounds, units::size, |value| units::show_size(*value), hint).unwrap_or(default)
    }

    fn unit<T: PartialOrd>(
        &self,
        key: &'static str,
        bounds: &RangeInclusive<T>,
        read: fn(&str) -> Option<T>,
        show: fn(&T) -> String,
        hint: Text,
    ) -> Option<T> {
        #[cfg(test)]
        self.fact(key, serde_json::json!({ "bounds": format!("{} to {}", show(bounds.start()), show(bounds.end())) }));
        let raw = self.raw(key)?;
        let text = match raw.value {
            DeValue::String(text) => &**text,
            // Zero needs no unit, so it needs no quotes either.
            DeValue::Integer(integer) if integer.as_str() == "0" => "0",
            _ => {
                let message = text!(
                    "{key} must be text with a unit, not {found}",
                    key = self.label(key),
                    found = kind(raw.value)
                );
                self.faults.add(Code::Type, &raw.place, message, hint);
                return None;
            }
        };
        let Some(value) = read(text) else {
            self.faults.add(
                Code::Value,
                &raw.place,
                text!("{key} cannot be {text:?}", key = self.label(key), text),
                hint,
            );
            return None;
        };
        if !bounds.contains(&value) {
            let (least, most) = (show(bounds.start()), show(bounds.end()));
            let message = text!("{key} must be between {least} and {most}", key = self.label(key), least, most);
            self.faults.add(Code::Range, &raw.place, message, hint);
            return None;
        }
        Some(value)
    }
}
