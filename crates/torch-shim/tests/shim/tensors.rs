//! Memory that crosses the border without a copy, and is given back once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tch::Kind;
use torch_shim::{
    ErrorClass, IValue, Module, Slot, TensorBytes, TorchDevice, tensor_from_owner, to_device,
};

use crate::{Aligned, floats, floats_of};

/// An owner that counts its drops, and can panic in them.
struct Counted {
    bytes: Aligned,
    drops: Arc<AtomicUsize>,
    panics: bool,
}

impl Counted {
    fn new(length: usize) -> (Self, Arc<AtomicUsize>) {
        let drops = Arc::new(AtomicUsize::new(0));
        (Self { bytes: Aligned::new(&vec![1; length]), drops: drops.clone(), panics: false }, drops)
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panics, "a panic on purpose: it must not reach C++");
    }
}

#[test]
fn bytes_go_in_and_out_without_a_copy() {
    let (owner, drops) = Counted::new(64);
    let address = owner.as_ref().as_ptr();
    let tensor = tensor_from_owner(owner, &[4, 4], Kind::Float).unwrap();
    let bytes = TensorBytes::new(tensor).unwrap();
    assert_eq!(bytes.as_ref().as_ptr(), address, "nothing must be copied");
    assert_eq!(bytes.as_ref(), [1; 64]);
    assert_eq!(drops.load(Ordering::SeqCst), 0);
    std::thread::spawn(move || drop(bytes)).join().unwrap();
    assert_eq!(drops.load(Ordering::SeqCst), 1, "the owner must be dropped exactly once");
}

#[test]
fn the_owner_lives_as_long_as_the_last_tensor() {
    let (owner, drops) = Counted::new(64);
    let tensor = tensor_from_owner(owner, &[4, 4], Kind::Float).unwrap();
    let view = tensor.f_narrow(0, 1, 2).unwrap();
    drop(tensor);
    assert_eq!(drops.load(Ordering::SeqCst), 0, "a view must keep the memory");
    drop(view);
    assert_eq!(drops.load(Ordering::SeqCst), 1);
}

#[test]
fn a_model_that_returns_its_input_keeps_the_owner() {
    let (owner, drops) = Counted::new(64);
    let module = Module::define("def forward(self, x):\n    return x.view([16])\n").unwrap();
    let argument = IValue::Tensor(tensor_from_owner(owner, &[4, 4], Kind::Float).unwrap());
    let IValue::Tensor(answer) = module.run("forward", &[argument]).unwrap() else {
        panic!("must be a tensor")
    };
    assert_eq!(drops.load(Ordering::SeqCst), 0);
    drop(answer);
    assert_eq!(drops.load(Ordering::SeqCst), 1);
}

#[test]
fn shapes_that_do_not_fit_are_refused_and_the_owner_is_dropped() {
    let cases: [(&[i64], Kind); 6] = [
        (&[4, 5], Kind::Float),
        (&[-1, 4], Kind::Float),
        (&[i64::MAX, i64::MAX], Kind::Float),
        (&[64], Kind::QInt8),
        (&[], Kind::Float),
        (&[0], Kind::Float),
    ];
    for (shape, kind) in cases {
        let (owner, drops) = Counted::new(64);
        let error = tensor_from_owner(owner, shape, kind).unwrap_err();
        assert_eq!(error.class, ErrorClass::InvalidArgument, "{shape:?} {kind:?}");
        assert_eq!(drops.load(Ordering::SeqCst), 1, "{shape:?} {kind:?}");
    }
    let (owner, _) = Counted::new(0);
    let empty = tensor_from_owner(owner, &[0, 3], Kind::Float).unwrap();
    assert!(TensorBytes::new(empty).unwrap().as_ref().is_empty());
}

#[test]
fn misaligned_bytes_are_refused() {
    struct Shifted(Aligned);
    impl AsRef<[u8]> for Shifted {
        fn as_ref(&self) -> &[u8] {
            &self.0.as_ref()[1..]
        }
    }
    let error = tensor_from_owner(Shifted(Aligned::new(&[0; 9])), &[2], Kind::Float).unwrap_err();
    assert_eq!(error.message, "a tensor of kind Float must start at a multiple of 4 bytes");
    assert!(tensor_from_owner(Shifted(Aligned::new(&[0; 9])), &[8], Kind::Uint8).is_ok());
}

#[test]
fn a_panic_of_the_owner_stays_in_rust() {
    let (mut owner, drops) = Counted::new(64);
    owner.panics = true;
    drop(tensor_from_owner(owner, &[16], Kind::Float).unwrap());
    assert_eq!(drops.load(Ordering::SeqCst), 1);
}

#[test]
fn shared_and_strided_tensors_are_copied() {
    let tensor = floats(&[1., 2., 3., 4.], &[2, 2]);
    assert_eq!(floats_of(tensor.f_transpose(0, 1).unwrap().into()), [1., 3., 2., 4.]);
    let source = "def forward(self, x):\n    self.s.add_(x)\n    return self.s\n\
                  def halves(self, x):\n    return x.relu().chunk(2)\n";
    let module =
        Module::define_with("", source, vec![("s", Slot::Buffer(floats(&[0.], &[1])))]).unwrap();
    let run = || match module.run("forward", &[floats(&[1.], &[1]).into()]).unwrap() {
        IValue::Tensor(tensor) => TensorBytes::new(tensor).unwrap(),
        other => panic!("must be a tensor: {other:?}"),
    };
    let first = run();
    let second = run();
    assert_eq!(
        first.as_ref(),
        1f32.to_ne_bytes(),
        "the next call must not change an answer that is on its way"
    );
    assert_eq!(second.as_ref(), 2f32.to_ne_bytes());
    let IValue::List(halves) = module.run("halves", &[floats(&[1., 2.], &[2]).into()]).unwrap()
    else {
        panic!()
    };
    assert_eq!(halves.into_iter().map(floats_of).collect::<Vec<_>>(), [[1.], [2.]]);
}

#[test]
fn devices_on_a_machine_without_one_say_so() {
    let tensor = floats(&[1.], &[1]);
    let same = to_device(&tensor, TorchDevice::Cpu, true).unwrap();
    assert_eq!(floats_of(same.into()), [1.]);
    torch_shim::synchronize(TorchDevice::Cpu).unwrap();
    let guard = torch_shim::StreamGuard::new(TorchDevice::Cpu).unwrap();
    guard.synchronize().unwrap();
    assert_eq!(
        to_device(&tensor, TorchDevice::Cuda(99), false).unwrap_err().class,
        ErrorClass::InvalidArgument
    );
    assert!(torch_shim::memory_stats(99).is_none() && torch_shim::device_name(99).is_none());
    if torch_shim::device_count() == 0 {
        let error = torch_shim::PinnedBuffer::new(64).unwrap_err();
        assert_eq!(error.class, ErrorClass::Unsupported, "{error}");
        assert!(
            torch_shim::load_cuda_library()
                .is_err_and(|reason| reason.contains("libtorch_cuda.so"))
        );
    }
    let facts = torch_shim::build_facts().unwrap();
    assert!(facts.version.starts_with("2.") && !facts.cpu_capability.is_empty(), "{facts:?}");
}
