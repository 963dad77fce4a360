//! The shim against the real libtorch. Models are compiled from source here, so that no Python is needed.

#![expect(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

mod environment;
mod files;
mod forms;
mod guards;
mod inspect;
mod run;
mod sizes;
mod tensors;
mod threads;
mod traps;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use tch::{Kind, Tensor};
use torch_shim::{IValue, TensorBytes, tensor_from_owner};

/// A tensor of floats.
fn floats(values: &[f32], shape: &[i64]) -> Tensor {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
    tensor_from_owner(Aligned::new(&bytes), shape, Kind::Float)
        .expect("the test's shape fits its values")
}

/// The floats of a tensor value.
#[track_caller]
fn floats_of(value: IValue) -> Vec<f32> {
    let IValue::Tensor(tensor) = value else { panic!("expected a tensor, got {value:?}") };
    let bytes = TensorBytes::new(tensor).expect("the bytes of a dense tensor");
    bytes
        .as_ref()
        .chunks_exact(4)
        .map(|chunk| f32::from_ne_bytes(chunk.try_into().unwrap()))
        .collect()
}

/// Bytes at a multiple of eight, which a plain `Vec<u8>` does not promise.
struct Aligned {
    words: Vec<u64>,
    length: usize,
}

impl Aligned {
    fn new(bytes: &[u8]) -> Self {
        let mut words = vec![0u64; bytes.len().div_ceil(8)];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks(8)) {
            let mut whole = [0; 8];
            whole[..chunk.len()].copy_from_slice(chunk);
            *word = u64::from_ne_bytes(whole);
        }
        Self { words, length: bytes.len() }
    }
}

impl AsRef<[u8]> for Aligned {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the words are plain bytes and at least `length` of them.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), self.length) }
    }
}

/// A file name of this test run that nobody else uses; removed when dropped.
struct ScratchFile(PathBuf);

impl ScratchFile {
    fn new(name: &str) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(
            std::env::temp_dir().join(format!("torch-shim-{}-{number}-{name}", std::process::id())),
        )
    }
}

impl Drop for ScratchFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
