//! Parses numbers and booleans as Python's `int`, `float` and `getboolean` do: with blanks around,
//! a sign, underscores between digits, and exponents.
//!
//! Guarantees: pure. What is accepted means the same in Python.
//!
//! Out of scope: digits beyond ASCII, infinities and NaN, which are all refused.

/// Parses `1`, `yes`, `true`, `on` and their opposites, in any case.
pub fn boolean(text: &str) -> Option<bool> {
    match &*text.to_lowercase() {
        "1" | "yes" | "true" | "on" => Some(true),
        "0" | "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

/// Parses a whole number that is not negative: `5`, `+5`, `05`, `1_000`, `-0`.
pub fn integer(text: &str) -> Option<u64> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = without_underscores(digits)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|number| !negative || *number == 0)
}

/// Parses a finite number: `5`, `.5`, `5.`, `+5e-1`, `1_0.5`.
pub fn float(text: &str) -> Option<f64> {
    without_underscores(text.trim())?.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Formats a float as Python prints it: `1.0`, `0.25`, `1e-05`, `1e+16`.
pub fn float_text(number: f64) -> String {
    let text = format!("{number:?}");
    match text.split_once('e') {
        None => text,
        Some((digits, exponent)) => match exponent.strip_prefix('-') {
            Some(exponent) => format!("{digits}e-{exponent:0>2}"),
            None => format!("{digits}e+{exponent:0>2}"),
        },
    }
}

/// Removes underscores. None if one of them is not between two digits.
fn without_underscores(text: &str) -> Option<String> {
    let is_digit =
        |index: Option<usize>| index.and_then(|index| text.as_bytes().get(index)).is_some_and(u8::is_ascii_digit);
    let misplaced = |(index, _): (usize, &str)| !is_digit(index.checked_sub(1)) || !is_digit(Some(index + 1));
    if text.match_indices('_').any(misplaced) {
        return None;
    }
    Some(text.replace('_', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The results of Python's `int(text)` and `float(text)`; `None` if it raised, or for what is
    /// refused here.
    #[test]
    fn numbers_are_parsed_as_in_python() {
        fn check(text: &str, as_integer: Option<u64>, as_float: Option<f64>) {
            assert_eq!((integer(text), float(text)), (as_integer, as_float), "{text:?}");
        }
        check("5", Some(5), Some(5.0));
        check("+5", Some(5), Some(5.0));
        check(" 5\u{a0}", Some(5), Some(5.0));
        check("05", Some(5), Some(5.0));
        check("1_0", Some(10), Some(10.0));
        check("-0", Some(0), Some(0.0));
        check("-5", None, Some(-5.0));
        check("5.0", None, Some(5.0));
        check("5.", None, Some(5.0));
        check(".5", None, Some(0.5));
        check("1e0", None, Some(1.0));
        check("1E+1_0", None, Some(1e10));
        check("1_0.2_5", None, Some(10.25));
        for text in [
            "",
            "x",
            "0x10",
            "+",
            "-",
            "++5",
            "+-5",
            "- 5",
            "5 5",
            "_5",
            "5_",
            "5__5",
            "1_.5",
            "1._5",
            ".",
            "e5",
            "5e",
            "1e_5",
            "5\u{1c}",
            "nan",
            "inf",
            "-infinity",
            "1e999",
            "٥",
            "5s",
        ] {
            check(text, None, None);
        }
        check("18446744073709551616", None, Some(18446744073709551616.0));
    }

    #[test]
    fn booleans_are_parsed_as_in_python() {
        for (text, expected) in [("True", Some(true)), ("ON", Some(true)), ("0", Some(false)), ("nO", Some(false))] {
            assert_eq!(boolean(text), expected);
        }
        for text in ["", "maybe", "2", " true", "t"] {
            assert_eq!(boolean(text), None);
        }
    }

    #[test]
    fn floats_are_formatted_as_in_python() {
        for (number, expected) in [
            (1.0, "1.0"),
            (0.25, "0.25"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-10, "1.5e-10"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1e100, "1e+100"),
        ] {
            assert_eq!(float_text(number), expected);
        }
    }
}
