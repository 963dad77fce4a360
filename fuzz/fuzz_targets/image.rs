//! The step that makes pixels of a file: what comes out has the size that was asked for, whatever came in.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sconce::tensor::DataType;
use sconce::transform::{Channels, Decode, Desk, Filter, ImageOptions, ImageSize, InputStep};
use sconce_fuzz::{content, input};

fuzz_target!(|data: &[u8]| {
    let step = Decode::new(ImageOptions {
        resize: ImageSize::ShortSide(16),
        filter: Filter::Bilinear,
        crop: Some([16, 12]),
        channels: Channels::Rgb,
        divide_by: 255.0,
        mean: None,
        std: None,
        max_pixels: 1 << 16,
    });
    let step = step.expect("the options fit each other");
    let inner = [input("x", DataType::Fp32, &[-1, 3, 16, 12])];
    let mut desk = Desk::default();
    if let Ok(made) = step.apply(&inner, vec![content("image", data)], &mut desk) {
        assert_eq!(made[0].tensor.shape().dims(), [1, 3, 16, 12]);
        assert!(desk.work.pixels <= 1 << 16);
    }
});
