//! `{{count}}` and its like in the arguments, if asked for with `--template`.

use std::time::SystemTime;

/// What stands for what, at one emit.
pub(crate) struct Template {
    /// The number of the emit, from 1.
    pub(crate) count: u64,
    pub(crate) now: SystemTime,
}

impl Template {
    /// `text` with everything in double braces that is known replaced, and all else as it is.
    pub(crate) fn fill(&self, text: &str) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            filled.push_str(before);
            match after.split_once("}}").and_then(|(name, behind)| Some((self.value(name.trim())?, behind))) {
                Some((value, behind)) => {
                    filled.push_str(&value);
                    rest = behind;
                }
                None => {
                    filled.push_str("{{");
                    rest = after;
                }
            }
        }
        filled.push_str(rest);
        filled
    }

    fn value(&self, name: &str) -> Option<String> {
        Some(match name {
            "count" => self.count.to_string(),
            "time" => humantime::format_rfc3339_millis(self.now).to_string(),
            "unix_ms" => {
                let since = self.now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                since.as_millis().to_string()
            }
            "uuid" => uuid::Uuid::new_v4().to_string(),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_known_is_replaced_and_all_else_stays() {
        let template = Template { count: 7, now: SystemTime::UNIX_EPOCH + Duration::from_millis(1_500) };
        for (text, filled) in [
            ("{{count}}", "7"),
            (r#"{"n":{{count}},"at":{{ unix_ms }}}"#, r#"{"n":7,"at":1500}"#),
            ("{{time}}!", "1970-01-01T00:00:01.500Z!"),
            ("{{name}} {{count}", "{{name}} {{count}"),
            ("{{{count}}}", "{{{count}}}"),
            ("{{ {{count}}", "{{ 7"),
            ("}}{{", "}}{{"),
            ("", ""),
        ] {
            assert_eq!(template.fill(text), filled, "{text}");
        }
        let [first, second] = [template.fill("{{uuid}}"), template.fill("{{uuid}}")];
        assert!(first.len() == 36 && first != second, "{first} {second}");
    }
}
