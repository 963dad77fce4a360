//! Operators that let a model reach beyond its tensors, or end its process. Read from the file, before anything runs.

use super::hazards::hazard;
use super::proof::{BY_VALUES, RANDOM};
use crate::engine::{Reach, Signature, without_overload};

/// A closed list: operators of libtorch's CPU library, each with what it can do. An entry that ends with
/// `::` stands for everything in that namespace.
const CONCERNS: &[(&str, &str)] = &[
    ("aten::from_file", "maps a file of any name into a tensor, and can create or change it"),
    ("aten::save", "writes a file of any name"),
    ("prim::rpc_async", "calls into other processes"),
    ("prim::rpc_sync", "calls into other processes"),
    ("prim::rpc_remote", "calls into other processes"),
    ("rpc::", "calls into other processes"),
    ("c10d::", "exchanges tensors with other processes"),
    ("_c10d_functional::", "exchanges tensors with other processes"),
    ("_c10d_functional_autograd::", "exchanges tensors with other processes"),
    ("c10d_functional::", "exchanges tensors with other processes"),
    ("symm_mem::", "shares memory with other processes"),
    ("_dtensor::", "exchanges tensors with other processes"),
];

/// The same of what can end the process, or read and write beyond tensors in it; see also `hazards`.
const RISKS: &[(&str, &str)] = &[
    (
        "sconce::unbounded_nesting",
        "makes values that hold one another as deep as a number says, and freeing them overflows the stack",
    ),
    (
        "sconce::unordered_sort",
        "sorts a list of tensors, objects or floating-point numbers, whose order need not be one, and then leaves the list",
    ),
    ("sconce::foreign_cast", "takes a value for one of another type without a look at it"),
    ("inductor::resize_storage_bytes_", "gives a tensor memory of another size"),
    ("static_runtime::", "stands for what libtorch itself puts into code"),
    ("inductor::_alloc_from_pool", "makes tensors over foreign memory without a check"),
    ("inductor::_reinterpret_tensor", "makes tensors over foreign memory without a check"),
];

/// What harms nobody but takes a thread, or memory, for as long as a request likes: no deadline ends what runs in this process,
/// and the end of another process does.
const ENDLESS: &[(&str, &str)] = &[
    (
        "sconce::unbounded_loop",
        "repeats as often as a value in a request says, and only the end of a process ends that",
    ),
    (
        "sconce::reference_cycle",
        "can make values that hold themselves, whose memory only the end of a process gives back",
    ),
];

/// Operators of `aten` that take as many steps as a number in a tensor says, or as two texts are long, one times the other.
const ENDLESS_OPERATORS: &[&str] = &[
    "count",
    "find",
    "index.str",
    "mvlgamma",
    "partition",
    "polygamma",
    "replace",
    "rfind",
    "rindex",
    "rpartition",
    "rsplit",
    "special_multigammaln",
    "special_polygamma",
    "special_zeta",
    "split.str",
];
const ENDLESS_REASON: &str =
    "can take as long as a value in a request says, and only the end of a process ends that";

/// Whether it is such an operator. A polynomial of so high a degree is computed term by term.
fn is_endless(operator: &str) -> bool {
    let of_aten = operator.strip_prefix("aten::").unwrap_or_default();
    let base = without_overload(of_aten);
    let base = base.strip_suffix('_').unwrap_or(base);
    let is_polynomial = base.starts_with("special_") && base.contains("_polynomial_");
    is_polynomial || ENDLESS_OPERATORS.iter().any(|it| *it == base || *it == of_aten)
}

/// Namespaces of libtorch's own operators, all of which have been tried. What is in another one comes from a library.
const KNOWN: &[&str] = &[
    "aten",
    "prim",
    "prims",
    "quantized",
    "_quantized",
    "quantized_decomposed",
    "sparse",
    "mkl",
    "mkldnn",
    "mkldnn_prepacked",
    "onednn",
    "prepacked",
    "xnnpack",
    "cuda",
    "inductor",
    "profiler",
    "sconce",
];

/// What an operator threatens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threat {
    /// Files, other processes, or whatever the user of the process may do.
    World,
    /// The process that runs it, and what is in its memory.
    Process,
}

/// Why an operator is of concern, and what it threatens; `None` when it is not. An overload counts as its operator.
#[must_use]
pub fn concern(operator: &str) -> Option<(Threat, &'static str)> {
    let base = without_overload(operator);
    let find = |entries: &[(&str, &'static str)]| {
        let matches = |entry: &str| {
            if entry.ends_with("::") { base.starts_with(entry) } else { base == entry }
        };
        entries.iter().find(|(entry, _)| matches(entry)).map(|(_, reason)| *reason)
    };
    let of_world = find(CONCERNS).map(|reason| (Threat::World, reason));
    of_world.or_else(|| Some((Threat::Process, find(RISKS).or_else(|| hazard(base))?)))
}

/// Something that a model can do and others cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concern<'s> {
    /// The operator; or that it is native code.
    pub name: &'s str,
    /// What is in danger.
    pub threat: Threat,
    /// What it does, for people.
    pub reason: &'static str,
}

/// What of a model touches files, other processes or foreign memory, or can end the process. A model that has any of it is not
/// to be run unless it is trusted or, where only its process is in danger, has one of its own.
#[must_use]
pub fn concerns(signature: &Signature) -> Vec<Concern<'_>> {
    match &signature.reach {
        Reach::Operators(operators) => {
            let of = |name| concern(name).map(|(threat, reason)| Concern { name, threat, reason });
            operators.iter().map(String::as_str).filter_map(of).collect()
        }
        Reach::Native => {
            let reason = "does whatever its process may";
            vec![Concern { name: "native code", threat: Threat::World, reason }]
        }
    }
}

/// Why a model is better run in a process of its own, if so: in a sentence. What no list knows comes from an operator library.
#[must_use]
pub fn risk(signature: &Signature) -> Option<String> {
    if let [Concern { name, reason, .. }, ..] = concerns(signature)[..] {
        return Some(format!("{name} {reason}"));
    }
    let operators = signature.reach.operators();
    let endless = |(name, _): &&(&str, &str)| operators.iter().any(|it| it == name);
    if let Some((name, reason)) = ENDLESS.iter().find(endless) {
        return Some(format!("{name} {reason}"));
    }
    if let Some(name) = operators.iter().find(|name| is_endless(name)) {
        return Some(format!("{name} {ENDLESS_REASON}"));
    }
    let is_foreign = |name: &&String| {
        let namespace = name.split_once("::").map_or("", |(namespace, _)| namespace);
        !KNOWN.contains(&namespace)
    };
    let foreign = operators.iter().find(is_foreign)?;
    Some(format!("{foreign} comes from an operator library, and nothing is known of what it does"))
}

/// Operators that run as long as a value says, or wait for somebody.
const MAY_RUN_LONG: &[&str] = &[
    "prim::Loop",
    "prim::fork",
    "prim::awaitable",
    "prim::Print",
    "aten::wait",
    "aten::manual_seed",
];

/// Operators of `aten` that make as much as the values of a tensor, or a number that may come from there, say.
const MAKE_BY_VALUES: &[&str] = &[
    "one_hot",
    "repeat_interleave",
    "repeat",
    "expand",
    "tile",
    "arange",
    "range",
    "linspace",
    "logspace",
    "zeros",
    "ones",
    "full",
    "empty",
    "eye",
    "new_zeros",
    "new_ones",
    "new_full",
    "new_empty",
    "tril_indices",
    "triu_indices",
    "resize_",
    "constant_pad_nd",
    "pad",
    "bincount",
    "histc",
    "matrix_power",
    "embedding_bag",
];

/// Whether the code has no loops and starts nothing, and no value decides how much it makes, so that how long a run takes
/// follows from the shapes of its inputs alone. (TorchScript has no recursion.) It draws no numbers: for those it may
/// have to wait.
#[must_use]
pub fn is_straight_line(signature: &Signature) -> bool {
    let ends_soon = |name: &String| {
        let base = without_overload(name);
        let of_aten = base.strip_prefix("aten::");
        (of_aten.is_some() || base.starts_with("prim::"))
            && !MAY_RUN_LONG.contains(&base)
            && !BY_VALUES.contains(&base)
            && !of_aten.is_some_and(|it| MAKE_BY_VALUES.contains(&it))
            && !draws(name)
            && !is_endless(name)
            && concern(name).is_none()
    };
    // Of a model without any operator, and of native code, nothing is known.
    let operators = signature.reach.operators();
    !operators.is_empty() && operators.iter().all(ends_soon)
}

/// Whether an operator draws random numbers, at least in some mode.
#[must_use]
pub fn draws(operator: &str) -> bool {
    let base = without_overload(operator);
    let of_aten = base.strip_prefix("aten::").map(|it| it.strip_suffix('_').unwrap_or(it));
    of_aten.is_some_and(|it| RANDOM.contains(&it) || it.ends_with("dropout"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_operators_that_reach_outside_are_of_concern() {
        let operators = ["aten::from_file.out", "aten::linear", "aten::save", "c10d::send"];
        let operators = operators.map(String::from).to_vec();
        let signature = Signature { reach: Reach::Operators(operators), ..Signature::default() };
        let names: Vec<_> = concerns(&signature).iter().map(|concern| concern.name).collect();
        assert_eq!(names, ["aten::from_file.out", "aten::save", "c10d::send"]);
        let native = Signature { reach: Reach::Native, ..Signature::default() };
        assert_eq!(concerns(&native).len(), 1, "nobody knows what it does");
        assert!(!is_straight_line(&native));
        assert_eq!(concern("aten::save_for_later"), None, "a prefix is not the operator");
        assert_eq!(concern("prim::Print"), None, "what is printed goes to the log");
    }

    #[test]
    fn an_endless_loop_is_kept_apart_and_refused_nowhere() {
        let operators = ["aten::add", "prim::Loop", "sconce::unbounded_loop"];
        let operators = operators.map(String::from).to_vec();
        let mut signature =
            Signature { reach: Reach::Operators(operators), ..Signature::default() };
        assert!(concerns(&signature).is_empty());
        assert!(risk(&signature).unwrap().starts_with("sconce::unbounded_loop"));
        signature.reach = Reach::Operators(vec!["prim::Loop".to_owned()]);
        assert_eq!(risk(&signature), None);
        for endless in [
            "sconce::reference_cycle",
            "aten::special_laguerre_polynomial_l.n_scalar",
            "aten::special_shifted_chebyshev_polynomial_t",
            "aten::special_zeta.other_scalar",
            "aten::polygamma_",
            "aten::find",
            "aten::index.str",
        ] {
            signature.reach = Reach::Operators(vec![endless.to_owned()]);
            assert!(risk(&signature).unwrap().starts_with(endless), "{endless}");
            assert!(concerns(&signature).is_empty() && !is_straight_line(&signature), "{endless}");
        }
        for harmless in ["aten::index.Tensor", "aten::split.Tensor", "aten::lgamma"] {
            signature.reach = Reach::Operators(vec![harmless.to_owned()]);
            assert_eq!(risk(&signature), None, "{harmless}");
        }
    }

    #[test]
    fn loops_and_what_is_not_known_may_run_long() {
        let of = |operators: &[&str]| Signature {
            reach: Reach::Operators(operators.iter().map(|name| (*name).to_owned()).collect()),
            ..Signature::default()
        };
        assert!(is_straight_line(&of(&["aten::linear", "prim::If", "prim::Constant"])));
        assert!(!is_straight_line(&of(&[])));
        for long in [
            "aten::one_hot",
            "aten::nonzero",
            "aten::rand_like",
            "aten::manual_seed",
            "prim::Print",
            "prim::Loop",
            "prim::fork",
            "mine::operator",
            "foreign::f",
            "aten::save",
        ] {
            assert!(!is_straight_line(&of(&["aten::linear", long])), "{long}");
        }
    }
}
