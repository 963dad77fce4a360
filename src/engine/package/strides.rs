//! How the tensors of a program lie in memory, as far as its sizes are known. Pure.

use super::document::Size;

/// Whether a tensor lies in memory as requests bring it. The stride of what lies around a size that varies has to be the product
/// of those within.
pub(super) fn is_contiguous(sizes: &[Size], strides: &[Size]) -> bool {
    let mut expected = 1;
    let mut symbols: Vec<&str> = Vec::new();
    for (size, stride) in sizes.iter().zip(strides).rev() {
        let is_one = matches!(size, Size::AsInt(1));
        let is_as_expected = match stride {
            Size::AsInt(stride) => symbols.is_empty() && *stride == expected,
            Size::AsExpr(stride) => is_product(&stride.expr_str, expected, &symbols),
        };
        if !is_one && !is_as_expected {
            return false;
        }
        match size {
            Size::AsInt(size) => expected *= size,
            // Another expression is refused where sizes are read.
            Size::AsExpr(size) => symbols.extend(symbol(&size.expr_str)),
        }
    }
    true
}

/// Whether an expression is the product of a number and these symbols, as sympy writes one:
/// `Mul(Integer(16), Symbol('s77', positive=True, integer=True))`, a symbol alone, or a power of one.
fn is_product(expression: &str, number: i64, symbols: &[&str]) -> bool {
    let factors = match expression.strip_prefix("Mul(").and_then(|it| it.strip_suffix(')')) {
        Some(factors) => split_arguments(factors),
        None => vec![expression],
    };
    let mut found_number = 1;
    let mut found = Vec::new();
    for factor in factors {
        let inner = |name: &str| {
            factor
                .strip_prefix(name)
                .and_then(|it| it.strip_prefix('('))
                .and_then(|it| it.strip_suffix(')'))
        };
        if let Some(it) = inner("Integer").and_then(|it| it.parse::<i64>().ok()) {
            found_number *= it;
        } else if let Some(name) = symbol(factor) {
            found.push(name);
        } else if let Some(power) = inner("Pow") {
            let [base, exponent] = split_arguments(power)[..] else { return false };
            let exponent = exponent.strip_prefix("Integer(").and_then(|it| it.strip_suffix(')'));
            let exponent = exponent.and_then(|it| it.parse::<usize>().ok()).filter(|it| *it <= 8);
            let (Some(name), Some(exponent)) = (symbol(base), exponent) else { return false };
            found.extend(std::iter::repeat_n(name, exponent));
        } else {
            return false;
        }
    }
    let mut wanted = symbols.to_vec();
    wanted.sort_unstable();
    found.sort_unstable();
    found_number == number && found == wanted
}

/// The arguments of a call, by the commas that stand in none of their own parentheses.
fn split_arguments(text: &str) -> Vec<&str> {
    let (mut depth, mut from, mut parts) = (0usize, 0, Vec::new());
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[from..].trim());
    parts
}

/// The name in `Symbol('s31', positive=True, integer=True)`; `None` for what is more than a symbol.
pub(super) fn symbol(expression: &str) -> Option<&str> {
    let (name, rest) = expression.strip_prefix("Symbol('")?.split_once('\'')?;
    let is_one = rest == ")" || (rest.starts_with(',') && rest.find(')') == Some(rest.len() - 1));
    (is_one && !rest.contains('(')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(text: &str) -> Size {
        match text.parse() {
            Ok(number) => Size::AsInt(number),
            Err(_) => {
                let symbol = |name: &str| format!("Symbol('{name}', positive=True, integer=True)");
                let expr_str = text.replace("s0", &symbol("s0")).replace("s1", &symbol("s1"));
                serde_json::from_value(serde_json::json!({"as_expr": {"expr_str": expr_str}}))
                    .unwrap()
            }
        }
    }

    #[track_caller]
    fn check(sizes: &[&str], strides: &[&str], expected: bool) {
        let of = |words: &[&str]| words.iter().map(|it| size(it)).collect::<Vec<_>>();
        let found = is_contiguous(&of(sizes), &of(strides));
        assert_eq!(found, expected, "{sizes:?} with strides {strides:?}");
    }

    #[test]
    fn rows_lie_one_after_the_other_whatever_varies() {
        check(&["s0", "4"], &["4", "1"], true);
        check(&["4", "s0"], &["s0", "1"], true);
        check(&["s0", "4", "s1"], &["Mul(Integer(4), s1)", "s1", "1"], true);
        check(&["s1", "s0", "s0"], &["Pow(s0, Integer(2))", "s0", "1"], true);
        check(
            &["2", "s0", "s1", "3"],
            &["Mul(Integer(3), s0, s1)", "Mul(Integer(3), s1)", "3", "1"],
            true,
        );
        check(&["s0", "1", "4"], &["4", "77", "1"], true);
        // Transposed, and each sixteenth of another.
        check(&["s0", "4", "s1"], &["s1", "Mul(s0, s1)", "1"], false);
        check(&["s0", "4", "s1"], &["320", "80", "1"], false);
        check(&["s0", "4", "s1"], &["Mul(Integer(64), s1)", "Mul(Integer(16), s1)", "1"], false);
        check(&["s0", "s1"], &["s0", "1"], false);
        check(&["s0", "s1"], &["Add(s1, Integer(1))", "1"], false);
        check(&["s0", "4"], &["8", "2"], false);
    }
}
