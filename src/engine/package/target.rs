//! For which machine a package was compiled, against this one: nothing else asks before its code runs.

use super::Refusal;
use super::document::Target;
use crate::engine::Fault;
use std::env::consts::{ARCH, OS};

/// What instruction sets want of an x86-64 processor, by the beginnings of torch's words for them, the longest first. Others
/// are left to the trial.
const NEEDS: &[(&str, &[&str])] = &[
    ("AMX", &["avx512f", "avx512bw", "avx512vl", "avx512dq", "fma"]),
    ("AVX512", &["avx512f", "avx512bw", "avx512vl", "avx512dq", "fma"]),
    ("AVX2", &["avx2", "fma"]),
];

/// Refuses what this machine cannot run.
pub(super) fn check(target: &Target) -> Result<(), Refusal> {
    judge(target, (OS, ARCH), &has)
}

fn judge(
    target: &Target,
    (os, arch): (&str, &str),
    has: &dyn Fn(&str) -> bool,
) -> Result<(), Refusal> {
    let Target { device, machine, platform, isa } = target;
    if device != "cpu" {
        let text = format!("the package is compiled for the device {device:?}, expected \"cpu\"");
        return Err((Fault::Unsupported, text));
    }
    // The words of Python's `platform` and `sys`.
    let machine = if machine == "arm64" { "aarch64" } else { machine };
    if machine != arch || platform != os {
        let text =
            format!("the package is compiled for {platform} on {machine}, this is {os} on {arch}");
        return Err((Fault::Environment, text));
    }
    let needs = NEEDS.iter().find(|(name, _)| isa.to_ascii_uppercase().starts_with(name));
    let needs = needs.filter(|_| arch == "x86_64").map_or(&[][..], |(_, needs)| needs);
    match needs.iter().find(|feature| !has(feature)) {
        None => Ok(()),
        Some(feature) => {
            let text = format!(
                "the package is compiled for processors with {isa}, and this one has no {feature}: compile it for less, as by cpp.march = \"x86-64-v3\""
            );
            Err((Fault::Environment, text))
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn has(feature: &str) -> bool {
    match feature {
        "avx2" => std::arch::is_x86_feature_detected!("avx2"),
        "fma" => std::arch::is_x86_feature_detected!("fma"),
        "avx512f" => std::arch::is_x86_feature_detected!("avx512f"),
        "avx512bw" => std::arch::is_x86_feature_detected!("avx512bw"),
        "avx512vl" => std::arch::is_x86_feature_detected!("avx512vl"),
        "avx512dq" => std::arch::is_x86_feature_detected!("avx512dq"),
        _ => true,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn has(_: &str) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: [&str; 4], expected: Result<(), &str>) {
        let [device, machine, platform, isa] = words.map(str::to_owned);
        let target = Target { device, machine, platform, isa };
        let has = |feature: &str| matches!(feature, "avx2" | "fma");
        let outcome = judge(&target, ("linux", "x86_64"), &has).map_err(|it| it.1);
        match (outcome, expected) {
            (Ok(()), Ok(())) => {}
            (Err(text), Err(part)) => assert!(text.contains(part), "{text}"),
            (outcome, expected) => panic!("{outcome:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn only_what_this_machine_runs_is_taken() {
        check(["cpu", "x86_64", "linux", "AVX2"], Ok(()));
        check(["cpu", "x86_64", "linux", "INVALID_VEC_ISA"], Ok(()));
        check(["cuda", "x86_64", "linux", "AVX2"], Err("for the device \"cuda\""));
        check(
            ["cpu", "aarch64", "linux", "asimd"],
            Err("for linux on aarch64, this is linux on x86_64"),
        );
        check(["cpu", "x86_64", "win32", "AVX2"], Err("for win32 on x86_64"));
        check(["cpu", "x86_64", "linux", "AVX512"], Err("this one has no avx512f"));
        check(["cpu", "x86_64", "linux", "AMX"], Err("with AMX"));
    }
}
