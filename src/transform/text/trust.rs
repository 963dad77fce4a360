//! What a `tokenizer.json` may make of a text: how much longer, and with how many steps. Whoever sends texts must not be able to
//! have a file's rules take time or memory without bound.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Longest word that is looked up in a vocabulary of parts, in characters: the steps grow with its square and more. Files of
/// Hugging Face's models have 100.
const MAX_WORD: u64 = 200;
/// How many times longer a text may become.
const MAX_GROWTH: usize = 256;
/// How many times longer the compatibility forms of Unicode make a text at most, in UTF-8: U+FDFA becomes 33 bytes of 3.
const COMPATIBILITY: usize = 11;
/// Longest text that a table of normalization puts in the place of a piece, in bytes.
const MAX_REPLACEMENT: usize = 33;

/// How many times longer a text may become, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Growth {
    /// By the normalizers.
    pub(super) normalized: usize,
    /// By what cuts it into words then.
    pub(super) cut: usize,
}

/// How much longer texts become before they are looked up.
pub(super) fn growth(json: &[u8]) -> Result<Growth, String> {
    let file: Value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    if let Some(longest) = file.pointer("/model/max_input_chars_per_word").and_then(Value::as_u64)
        && longest > MAX_WORD
    {
        return Err(format!(
            "its model has max_input_chars_per_word {longest}, at most {MAX_WORD} are allowed"
        ));
    }
    let normalized = of_normalizer(&file["normalizer"], 0)?;
    let cut = of_pre_tokenizer(&file["pre_tokenizer"], 0)?;
    let growth = normalized.saturating_mul(cut);
    if growth > MAX_GROWTH {
        return Err(format!(
            "its rules may make a text {growth} times longer, at most {MAX_GROWTH} times are allowed"
        ));
    }
    Ok(Growth { normalized, cut })
}

fn of_normalizer(normalizer: &Value, depth: usize) -> Result<usize, String> {
    Ok(match kind(normalizer, depth)? {
        "Sequence" => product(&normalizer["normalizers"], depth, of_normalizer)?,
        "Replace" => replaced(normalizer),
        "Prepend" => 1 + text(&normalizer["prepend"]).len(),
        "NFKC" | "NFKD" => COMPATIBILITY,
        "Precompiled" => precompiled(normalizer)?,
        "NFC" | "NFD" | "BertNormalizer" => 3,
        "ByteLevel" | "Lowercase" => 2,
        _ => 1,
    })
}

fn of_pre_tokenizer(pre_tokenizer: &Value, depth: usize) -> Result<usize, String> {
    Ok(match kind(pre_tokenizer, depth)? {
        "Sequence" => product(&pre_tokenizer["pretokenizers"], depth, of_pre_tokenizer)?,
        "ByteLevel" => 2,
        // A space becomes a character of three bytes.
        "Metaspace" => 4,
        _ => 1,
    })
}

fn kind(step: &Value, depth: usize) -> Result<&str, String> {
    if depth > 8 {
        return Err("its sequences are nested too deep".to_owned());
    }
    Ok(text(&step["type"]))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn product(
    steps: &Value,
    depth: usize,
    of: fn(&Value, usize) -> Result<usize, String>,
) -> Result<usize, String> {
    let steps = steps.as_array().map_or(&[][..], Vec::as_slice);
    steps.iter().try_fold(1usize, |all, step| Ok(all.saturating_mul(of(step, depth + 1)?)))
}

/// A pattern of characters has a length, and an expression may match between any two.
fn replaced(normalizer: &Value) -> usize {
    let content = text(&normalizer["content"]).len();
    match normalizer["pattern"].get("String").map(text) {
        Some(pattern) if !pattern.is_empty() => content.div_ceil(pattern.len()).max(1),
        _ => 1 + content,
    }
}

/// SentencePiece's table: the length of a trie, the trie, and the texts that it leads to, each with a NUL behind it.
fn precompiled(normalizer: &Value) -> Result<usize, String> {
    let table = STANDARD.decode(text(&normalizer["precompiled_charsmap"])).unwrap_or_default();
    let texts = table
        .split_first_chunk()
        .and_then(|(length, rest)| rest.get(usize::try_from(u32::from_le_bytes(*length)).ok()?..));
    let longest = texts.unwrap_or_default().split(|byte| *byte == 0).map(<[u8]>::len).max();
    match longest.unwrap_or_default() {
        longest if longest > MAX_REPLACEMENT => Err(format!(
            "its table of normalization has a text of {longest} bytes, at most {MAX_REPLACEMENT} are allowed"
        )),
        _ => Ok(COMPATIBILITY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(normalizer: Value) -> Result<usize, String> {
        growth(json!({"model": {}, "normalizer": normalizer}).to_string().as_bytes())
            .map(|growth| growth.normalized)
    }

    #[test]
    fn normalizers_of_real_models_are_taken() {
        let spaces = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
        let quotes = json!({"type": "Replace", "pattern": {"String": "``"}, "content": "\""});
        let runs = json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "});
        let llama = json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, spaces]});
        let albert = json!({"type": "Sequence", "normalizers": [quotes, {"type": "NFKD"}, {"type": "Lowercase"}, runs]});
        assert_eq!(of(json!(null)), Ok(1));
        assert_eq!(of(json!({"type": "BertNormalizer"})), Ok(3));
        assert_eq!(of(llama), Ok(12));
        assert_eq!(of(albert), Ok(44));
    }

    #[test]
    fn what_makes_much_of_little_is_refused() {
        let bomb = |content: usize| json!({"type": "Replace", "pattern": {"String": "q"}, "content": "x".repeat(content)});
        assert_eq!(of(bomb(256)), Ok(256));
        let text = "its rules may make a text 257 times longer, at most 256 times are allowed";
        assert_eq!(of(bomb(257)).unwrap_err(), text);
        let twice = json!({"type": "Sequence", "normalizers": [bomb(17), bomb(17)]});
        assert!(of(twice).is_err());
        let between =
            json!({"type": "Replace", "pattern": {"Regex": "x*"}, "content": "y".repeat(256)});
        assert!(of(between).is_err());
        let table = [&4u32.to_le_bytes()[..], &[0; 4], &[b'x'; 34], &[0]].concat();
        let mapped = json!({"type": "Precompiled", "precompiled_charsmap": STANDARD.encode(table)});
        assert!(of(mapped).unwrap_err().contains("34 bytes"));
        let word =
            json!({"model": {"type": "WordPiece", "max_input_chars_per_word": 1000}}).to_string();
        assert!(growth(word.as_bytes()).unwrap_err().contains("at most 200"));
    }
}
