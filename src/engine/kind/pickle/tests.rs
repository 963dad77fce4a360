//! Pickles written here, opcode by opcode, and those of real files.

use super::*;
use proptest::prelude::*;
use std::path::Path;

/// Opcodes between the beginning and the end.
fn pickle(body: &[&[u8]]) -> Vec<u8> {
    [b"\x80\x02", &body.concat()[..], b"."].concat()
}

fn text(it: &str) -> Vec<u8> {
    [b"X", &u32::try_from(it.len()).unwrap().to_le_bytes()[..], it.as_bytes()].concat()
}

fn int(it: i64) -> Vec<u8> {
    [b"\x8a\x08", &it.to_le_bytes()[..]].concat()
}

fn ints(of: &[i64]) -> Vec<u8> {
    let all: Vec<u8> = of.iter().flat_map(|it| int(*it)).collect();
    [b"(", &all[..], b"t"].concat()
}

fn storage(class: &str, key: &str, count: i64) -> Vec<u8> {
    let class = format!("ctorch\n{class}Storage\n");
    [b"(", &text("storage")[..], class.as_bytes(), &text(key), &text("cpu"), &int(count), b"tQ"]
        .concat()
}

const HOOKS: &[u8] = b"\x89ccollections\nOrderedDict\n)R";

/// A tensor over storage 0, whose record has 40 bytes.
fn tensor(class: &str, count: i64, offset: i64, sizes: &[i64], strides: &[i64]) -> Vec<u8> {
    tensor_of(&storage(class, "0", count), offset, sizes, strides)
}

fn tensor_of(storage: &[u8], offset: i64, sizes: &[i64], strides: &[i64]) -> Vec<u8> {
    let places = [int(offset), ints(sizes), ints(strides)].concat();
    [b"ctorch._utils\n_rebuild_tensor_v2\n(", storage, &places, HOOKS, b"tR"].concat()
}

fn quantized(params: &[u8], sizes: &[i64], strides: &[i64]) -> Vec<u8> {
    let places = [int(0), ints(sizes), ints(strides)].concat();
    let storage = storage("QInt8", "0", 6);
    [b"ctorch._utils\n_rebuild_qtensor\n(", &storage[..], &places, params, HOOKS, b"tR"].concat()
}

fn outcome(pickle: &[u8]) -> Result<Vec<Indices>, String> {
    let records = [("0", 40), ("1", 48), ("2", 24)].map(|(key, size)| (key.to_owned(), size));
    check(pickle, &records.into()).map_err(|it| it.to_string())
}

#[track_caller]
fn passes(body: &[&[u8]]) {
    assert_eq!(outcome(&pickle(body)), Ok(Vec::new()));
}

#[track_caller]
fn refused(body: &[&[u8]], expected: &str) {
    let reason = outcome(&pickle(body)).expect_err(expected);
    assert!(reason.contains(expected), "{reason:?} does not say {expected:?}");
}

#[test]
fn tensors_lie_within_their_storages_and_those_within_their_records() {
    passes(&[&tensor("Float", 10, 0, &[2, 5], &[5, 1])]);
    passes(&[&tensor("Float", 10, 9, &[], &[])]);
    passes(&[&tensor("Float", 10, 10, &[0, 3], &[3, 1])]);
    passes(&[&tensor("Float", 10, 0, &[1000, 10], &[0, 1])]);
    refused(&[&tensor("Float", 11, 0, &[1], &[1])], "has 44 bytes, and its record has 40");
    refused(&[&tensor("Double", 10, 0, &[1], &[1])], "has 80 bytes, and its record has 40");
    refused(&[&tensor("Float", i64::MAX, 0, &[1], &[1])], "elements");
    refused(&[&tensor("Float", -1, 0, &[1], &[1])], "a storage of -1 elements");
    refused(&[&tensor("Float", 10, 0, &[2, 5], &[6, 1])], "reaches beyond its storage of 10");
    refused(&[&tensor("Float", 10, 1, &[10], &[1])], "reaches beyond");
    refused(&[&tensor("Float", 10, 11, &[0], &[1])], "reaches beyond");
    refused(&[&tensor("Float", 0, 0, &[1], &[1])], "reaches beyond");
    refused(&[&tensor("Float", 10, -1, &[1], &[1])], "negative");
    refused(&[&tensor("Float", 10, 0, &[2], &[-1])], "negative");
    refused(&[&tensor("Float", 10, 0, &[-2], &[1])], "negative");
    refused(&[&tensor("Float", 10, 0, &[2, 5], &[1])], "not as many strides");
    refused(&[&tensor("Float", 10, 0, &[1 << 40, 1 << 40], &[0, 0])], "than can be counted");
    refused(&[&tensor("Float", 10, 0, &[3], &[i64::MAX])], "reaches beyond");
    refused(&[&tensor("Float", 10, 0, &[1; 26], &[1; 26])], "26 dimensions");
    refused(&[&tensor("Strange", 10, 0, &[1], &[1])], "torch.StrangeStorage, which is not known");
    refused(&[&tensor("QInt8", 10, 0, &[1], &[1])], "without a scale");
    let elsewhere = storage("Float", "9", 1);
    refused(&[&tensor_of(&elsewhere, 0, &[1], &[1])], "record \"9\", which is not there");
    passes(&[&tensor_of(&storage("Float", "9", 0), 0, &[0], &[1])]);
    let both = [storage("Float", "0", 5), storage("Float", "0", 6), b"\x86".to_vec()].concat();
    refused(&[&both], "two sizes");
}

#[test]
fn quantized_tensors_have_a_scale_for_each_channel() {
    let by_tensor =
        [b"ctorch\nper_tensor_affine\nG\0\0\0\0\0\0\0\0", &int(3)[..], b"\x87"].concat();
    passes(&[&quantized(&by_tensor, &[2, 3], &[3, 1])]);
    let channels = |n: i64, axis: i64| {
        let scales = tensor_of(&storage("Double", "1", 6), 0, &[n], &[1]);
        let zeros = tensor_of(&storage("Double", "1", 6), 0, &[n], &[1]);
        [b"(ctorch\nper_channel_affine\n", &scales[..], &zeros, &int(axis), b"t"].concat()
    };
    passes(&[&quantized(&channels(2, 0), &[2, 3], &[3, 1])]);
    passes(&[&quantized(&channels(3, 1), &[2, 3], &[3, 1])]);
    for (n, axis) in [(1, 0), (2, 1), (2, 2), (2, -1)] {
        refused(&[&quantized(&channels(n, axis), &[2, 3], &[3, 1])], "for each channel");
    }
    refused(&[&quantized(b"N)\x86", &[2, 3], &[3, 1])], "scheme");
}

#[test]
fn sparse_tensors_hand_back_the_indices_that_are_to_be_looked_at() {
    let coordinates = |n_rows: i64, n_values: i64, size: &[i64]| {
        let places = tensor_of(&storage("Long", "1", 6), 0, &[n_rows, 3], &[3, 1]);
        let values = tensor_of(&storage("Float", "2", 6), 0, &[n_values], &[1]);
        let parts = [b"(K\x01".to_vec(), ints(size), b"\x89".to_vec(), places, values].concat();
        [b"ctorch._utils\n_rebuild_sparse_tensor\n", &parts[..], b"NtR"].concat()
    };
    let found = outcome(&pickle(&[&coordinates(2, 3, &[4, 5])])).unwrap();
    let rules: Vec<_> = found.iter().map(|it| (it.begins_at, it.count, &it.rule)).collect();
    assert_eq!(rules, [(0, 3, &Rule::Below(4)), (24, 3, &Rule::Below(5))]);
    for (n_rows, n_values, size) in [(2, 2, &[4, 5][..]), (2, 3, &[4]), (1, 3, &[4, 5])] {
        refused(&[&coordinates(n_rows, n_values, size)], "do not fit each other");
    }
    let rows = |n: i64| {
        let rows = tensor_of(&storage("Long", "1", 6), 0, &[n], &[1]);
        let columns = tensor_of(&storage("Long", "2", 3), 1, &[2], &[1]);
        let values = tensor_of(&storage("Float", "0", 10), 0, &[2], &[1]);
        let parts = [b"(K\x02".to_vec(), ints(&[3, 7]), b"\x89".to_vec(), rows, columns, values];
        [b"ctorch._utils\n_rebuild_sparse_tensor\n", &parts.concat()[..], b"NtR"].concat()
    };
    let found = outcome(&pickle(&[&rows(4)])).unwrap();
    let rules: Vec<_> = found.iter().map(|it| (it.begins_at, it.count, &it.rule)).collect();
    assert_eq!(rules, [(0, 4, &Rule::RisesTo(2)), (8, 2, &Rule::Below(7))]);
    refused(&[&rows(3)], "do not fit each other");
}

#[test]
fn types_are_what_the_values_are() {
    let tag = |list: &[u8], tag: &str| {
        [b"ctorch.jit._pickle\nrestore_type_tag\n", list, &text(tag), b"\x86R"].concat()
    };
    let object = |class: &str| -> Vec<u8> {
        [&b"c__torch__.a\n"[..], class.as_bytes(), b"\n)\x81}b"].concat()
    };
    let list = |items: &[u8]| [b"](", items, b"e"].concat();
    passes(&[&tag(&list(b"K\x01K\x02"), "List[int]")]);
    passes(&[&tag(&list(&object("A")), "List[__torch__.a.A]")]);
    passes(&[&tag(&list(b""), "List[__torch__.a.Other]")]);
    passes(&[&tag(&list(&list(b"K\x01")), "List[List[int]]")]);
    passes(&[&tag(&list(b"K\x01N"), "List[Optional[int]]")]);
    let dict = [b"}(", &text("k")[..], &list(b"K\x01"), b"u"].concat();
    passes(&[&tag(&dict, "Dict[str, List[int]]")]);
    passes(&[&tag(&list(b"K\x01N\x86"), "List[Tuple[int, Optional[str]]]")]);
    refused(&[&tag(&dict, "Dict[str, List[str]]")], "not the Dict[str, List[str]]");
    refused(&[&tag(&list(&object("B")), "List[__torch__.a.A]")], "not the List[__torch__.a.A]");
    refused(&[&tag(&list(b"N"), "List[int]")], "not the List[int]");
    refused(&[&tag(&list(b"K\x01"), "List[Unknown]")], "not the List[Unknown]");
    refused(&[b"ctorch.jit._pickle\nbuild_tensorlist\n](K\x01e\x85R"], "List[Tensor]");
    let grown = [&tag(&list(b"K\x01"), "List[int]")[..], b"q\0(Ne"].concat();
    refused(&[&grown], "holds already");
}

#[test]
fn what_libtorch_would_take_otherwise_is_refused() {
    refused(&[b"K\0)R"], "cannot be called");
    refused(&[b"K\0)\x81"], "what is no class");
    refused(&[b"}(K\x01u"], "without a value");
    refused(&[b"}(]Nu"], "keys that are none");
    refused(&[b"t"], "no mark");
    refused(&[b"NN(\x86t"], "more values than there are");
    refused(&[b"Nr\0\0\0\x10"], "keeps value");
    refused(&[b"h\x01"], "not kept");
    refused(&[b"]q\0(h\0e"], "holds already");
    refused(&[b"\x93"], "opcode 0x93");
    refused(&[b"cos\nsystem\n"], "os.system, which is not known");
    refused(&[b"ctorch._tensor\n_rebuild_from_type_v2\n"], "not known");
    refused(&[b"NN"], "ends with 2 values");
    refused(&[b"\x8a\x09\0\0\0\0\0\0\0\0\0"], "a number of 9 bytes");
    refused(&[b"c__torch__\nA b\n"], "a name");
    let deep = [&b")"[..], &[0x85; 600]].concat();
    refused(&[&deep], "nested more than 512 deep");
    passes(&[&deep[..500]]);
    for end in 0..20 {
        let whole = pickle(&[&tensor("Float", 10, 0, &[2], &[1])]);
        assert!(outcome(&whole[..whole.len() - 1 - end]).is_err());
    }
    assert!(outcome(b"\x80\x04N.").is_err());
}

/// The pickles of the fixtures, which all pass.
fn real() -> Vec<Vec<u8>> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models");
    let files = std::fs::read_dir(fixtures).unwrap();
    let files = files.map(|it| it.unwrap().path().join("1/model.pt"));
    files.filter_map(|file| super::super::integrity::testing::record(&file, "data.pkl")).collect()
}

#[test]
fn real_archives_are_whole() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut n_files = 0;
    for folder in ["tests/fixtures/models", "models"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let file = entry.unwrap().path().join("1/model.pt");
            let Ok(mut file_) = std::fs::File::open(&file) else { continue };
            let damage = super::super::damage(&mut file_, u64::MAX).unwrap();
            assert_eq!(damage, None, "{}", file.display());
            n_files += 1;
        }
    }
    assert!(n_files > 40, "{n_files} files");
}

proptest! {
    #[test]
    fn nothing_that_is_written_there_ends_in_a_panic(
        which in any::<proptest::sample::Index>(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<proptest::sample::Index>(),
        tail in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        thread_local!(static REAL: Vec<Vec<u8>> = real());
        let mut bytes = REAL.with(|real| which.get(real).clone());
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = outcome(&bytes);
        bytes.truncate(cut.index(bytes.len() + 1));
        bytes.extend(tail);
        let _ = outcome(&bytes);
    }

    /// Opcodes alone, which reach further than bytes do.
    #[test]
    fn no_order_of_opcodes_ends_in_a_panic(
        steps in proptest::collection::vec(0usize..21, 0..200),
    ) {
        let words = [text("storage"), tensor("Float", 10, 0, &[2], &[1]), ints(&[1, 2])];
        let steps: Vec<&[u8]> = steps.into_iter().map(|step| match step {
            0..3 => &words[step][..],
            3 => b"(", 4 => b")", 5 => b"]", 6 => b"}", 7 => b"t", 8 => b"e", 9 => b"u", 10 => b"s",
            11 => b"R", 12 => b"b", 13 => b"Q", 14 => b"\x81", 15 => b"\x86", 16 => b"q\0", 17 => b"h\0",
            18 => b"c__torch__\nA\n", 19 => b"K\x01", _ => b"l",
        }).collect();
        let _ = outcome(&pickle(&steps));
    }
}
