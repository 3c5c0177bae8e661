//! Which vector instructions this process uses. Every path gives the same bytes; only the time differs.

use std::sync::OnceLock;

use crate::Error;

/// The instruction sets that kernels are written for, slowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Path {
    /// Plain Rust, which serves aarch64 too.
    Portable,
    /// AVX2 with BMI1, BMI2, LZCNT and POPCNT: x86-64-v3.
    Avx2,
    /// AVX-512 F, BW, DQ, VL and VBMI2: Ice Lake, Zen 4 and later.
    Avx512,
}

/// Proof that this machine has the instructions of a path: only this module can make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu(Path);

impl Cpu {
    /// The best path that the machine has and that `CURATE_CPU` (portable, avx2, avx512) allows; read once.
    pub fn detect() -> Result<Self, Error> {
        static CHOSEN: OnceLock<Result<Cpu, Error>> = OnceLock::new();
        CHOSEN
            .get_or_init(|| match std::env::var("CURATE_CPU") {
                Err(_) => Ok(Self::at_most(Path::Avx512)),
                Ok(value) => match value.as_str() {
                    "" | "avx512" => Ok(Self::at_most(Path::Avx512)),
                    "avx2" => Ok(Self::at_most(Path::Avx2)),
                    "portable" => Ok(Self::at_most(Path::Portable)),
                    _ => Err(Error::UnknownCpu { value }),
                },
            })
            .clone()
    }

    /// The best path of this machine that is no better than `limit`.
    pub fn at_most(limit: Path) -> Self {
        let best = [Path::Avx512, Path::Avx2]
            .into_iter()
            .find(|&path| path <= limit && has(path));
        Self(best.unwrap_or(Path::Portable))
    }

    /// Every path of this machine, for tests that compare them.
    pub fn all() -> Vec<Self> {
        let paths = [Path::Portable, Path::Avx2, Path::Avx512];
        paths
            .into_iter()
            .filter(|&path| has(path))
            .map(Self)
            .collect()
    }

    /// The path to take; the machine has its instructions.
    pub fn path(self) -> Path {
        self.0
    }

    /// "avx512", "avx2" or "portable".
    pub fn name(self) -> &'static str {
        match self.0 {
            Path::Portable => "portable",
            Path::Avx2 => "avx2",
            Path::Avx512 => "avx512",
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn has(path: Path) -> bool {
    let avx2 = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("popcnt");
    match path {
        Path::Portable => true,
        Path::Avx2 => avx2,
        Path::Avx512 => {
            avx2 && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vbmi2")
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn has(path: Path) -> bool {
    path == Path::Portable
}
