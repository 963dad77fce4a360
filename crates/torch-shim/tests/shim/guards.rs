//! Operators that libtorch has trust their arguments look at them once a model has been loaded.

use tch::Kind;
use torch_shim::{IValue, Module, TorchDevice, tensor_from_owner};

use crate::{Aligned, ScratchFile, floats, floats_of};

const SOURCE: &str = "def repeat(self, n):\n    return torch.repeat_interleave(n)\n\
    def padded(self, x, sizes):\n    y, n = torch._pad_packed_sequence(x, sizes, True, 0.0, -1)\n    return y\n\
    def attend(self, q, k, v):\n        return torch.scaled_dot_product_attention(q, k, v)\n\
    def lstm(self, x, h, w, u, b):\n        return torch.lstm(x, [h, h], [w, u, b, b], True, 1, 0.0, False, False, True)[0]\n\
    def packed(self, x, sizes, h, c, w, u, b):\n        return torch.lstm(x, sizes, [h, c], [w, u, b, b], True, 1, 0.0, False, False)[0]\n\
    def bags(self, x, ids, offsets):\n    return torch.embedding_bag(x, ids, offsets)[0]\n\
    def largest(self, x, ids, offsets):\n    return torch.embedding_bag(x, ids, offsets, False, 2)[0]\n\
    def ends(self, x, ids, offsets):\n    return torch.embedding_bag(x, ids, offsets, False, 2, False, None, True)[0]\n";

fn integers(values: &[i64]) -> IValue {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
    let shape = [i64::try_from(values.len()).unwrap()];
    tensor_from_owner(Aligned::new(&bytes), &shape, Kind::Int64).unwrap().into()
}

#[test]
fn numbers_that_lead_out_of_a_tensor_are_refused() {
    let file = ScratchFile::new("guards.pt");
    Module::define(SOURCE).unwrap().save(&file.0).unwrap();
    let module = Module::load_path(&file.0, TorchDevice::Cpu).unwrap();

    let many = [i64::MAX, i64::MAX, 2];
    let error = module.run("repeat", &[integers(&many)]).unwrap_err();
    assert!(error.message.contains("more than can be counted"), "{error}");
    module.run("repeat", &[integers(&[1, 0, 2])]).unwrap();

    let padded = |sizes: &[i64]| {
        let rows = floats(&[1., 2., 3., 4.], &[4, 1]).into();
        module.run("padded", &[rows, integers(sizes)])
    };
    assert_eq!(floats_of(padded(&[2, 1, 1]).unwrap()), [1., 3., 4., 2., 0., 0.]);
    for sizes in [&[2, 1][..], &[3, 2], &[2, 1, 1, 1], &[-1, 5], &[1, 3], &[i64::MAX, 1], &[]] {
        assert!(padded(sizes).is_err(), "{sizes:?}");
    }

    let attend = |n_values: i64| {
        let rows = |n: i64| floats(&vec![1.; (n * 8).try_into().unwrap()], &[1, 1, n, 8]).into();
        module.run("attend", &[rows(2), rows(3), rows(n_values)])
    };
    attend(3).unwrap();
    for n_values in [2, 4, 100_000] {
        let error = attend(n_values).unwrap_err();
        assert!(error.message.contains("attention takes"), "{n_values}: {error}");
    }

    let halves = |shape: &[i64]| {
        let n = shape.iter().product::<i64>().try_into().unwrap();
        IValue::from(floats(&vec![0.5; n], shape))
    };
    let lstm = |width: i64, n_rows: i64, n_biases: i64| {
        let (x, h) = (halves(&[n_rows, 2, width]), halves(&[1, 1, 3]));
        module.run("lstm", &[x, h, halves(&[12, 8]), halves(&[12, 3]), halves(&[n_biases])])
    };
    lstm(8, 1, 12).unwrap();
    for (width, n_rows, n_biases) in [(7, 1, 12), (200_000, 1, 12), (8, 100, 12), (8, 1, 1)] {
        let error = lstm(width, n_rows, n_biases).unwrap_err();
        assert!(error.message.contains("LSTM"), "{width} {n_rows} {n_biases}: {error}");
    }

    let packed = |width: i64, sizes: &[i64], cells: [i64; 2], state: i64| {
        let [h, c] = cells.map(|cells| halves(&[cells, 2, state]));
        let (w, u, b) = (halves(&[12, 8]), halves(&[12, 3]), halves(&[12]));
        module.run("packed", &[halves(&[3, width]), integers(sizes), h, c, w, u, b])
    };
    packed(8, &[2, 1], [1, 1], 3).unwrap();
    let wrong: [(i64, &[i64], [i64; 2], i64); 7] = [
        (900, &[2, 1], [1, 1], 3),
        (8, &[2, 1], [3, 1], 3),
        (8, &[2, 1], [1, 3], 3),
        (8, &[2, 1], [1, 1], 512),
        (8, &[1, 1, 1], [1, 1], 3),
        (8, &[2, 2], [1, 1], 3),
        (8, &[], [1, 1], 3),
    ];
    for (width, sizes, cells, state) in wrong {
        let error = packed(width, sizes, cells, state).unwrap_err();
        let is_told = error.message.contains("LSTM") || error.message.contains("batch sizes");
        assert!(is_told, "{width} {sizes:?} {cells:?} {state}: {error}");
    }

    let bags_of = |method: &str, offsets: &[i64]| {
        let rows = floats(&[1., 2., 4., 8.], &[4, 1]).into();
        module.run(method, &[rows, integers(&[0, 1, 2, 3]), integers(offsets)])
    };
    let bags = |offsets: &[i64]| bags_of("bags", offsets);
    assert_eq!(floats_of(bags_of("largest", &[0, 2]).unwrap()), [2., 8.]);
    assert_eq!(floats_of(bags_of("ends", &[0, 4]).unwrap()), [8.]);
    for (method, offsets) in [("largest", &[][..]), ("ends", &[0]), ("ends", &[])] {
        let error = bags_of(method, offsets).unwrap_err();
        assert!(error.message.contains("no bag"), "{method} {offsets:?}: {error}");
    }
    assert_eq!(floats_of(bags(&[0, 1, 1, 4]).unwrap()), [1., 0., 14., 0.]);
    for offsets in [&[0, -1][..], &[0, 3, 1], &[0, 5, 3], &[1, 2], &[0, 5], &[0, i64::MIN, 2]] {
        let error = bags(offsets).unwrap_err();
        assert!(error.message.contains("offsets of bags"), "{offsets:?}: {error}");
    }
}
