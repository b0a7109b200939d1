//! AES-128-GCM by whichever library is quicker on this processor, for those that can choose: the limit, and the stacks that
//! take rustls's configuration. Ours chooses by itself, in the same way.

use crate::Failure;
use {aws_lc_rs::aead as aws_lc, ring::aead as ring};

pub(super) const TAG: usize = 16;

pub(super) enum Key {
    AwsLc(Box<aws_lc::LessSafeKey>),
    Ring(Box<ring::LessSafeKey>),
}

/// AWS-LC uses vectors of AES only together with AVX-512, ring with AVX2 as well.
pub(super) fn is_ring_quicker() -> bool {
    #[cfg(target_arch = "x86_64")]
    let quicker = std::is_x86_feature_detected!("vaes")
        && std::is_x86_feature_detected!("vpclmulqdq")
        && std::is_x86_feature_detected!("avx2")
        && !std::is_x86_feature_detected!("avx512vl");
    #[cfg(not(target_arch = "x86_64"))]
    let quicker = false;
    quicker
}

impl Key {
    pub(super) fn new(key: &[u8; 16]) -> Result<Self, Failure> {
        if is_ring_quicker() {
            let key = ring::UnboundKey::new(&ring::AES_128_GCM, key).map_err(|_| "ring refuses the key")?;
            return Ok(Self::Ring(Box::new(ring::LessSafeKey::new(key))));
        }
        let key = aws_lc::UnboundKey::new(&aws_lc::AES_128_GCM, key)?;
        Ok(Self::AwsLc(Box::new(aws_lc::LessSafeKey::new(key))))
    }

    pub(super) fn seal(&self, number: u32, header: &[u8], body: &mut [u8]) -> Result<[u8; TAG], Failure> {
        let mut out = [0; TAG];
        match self {
            Self::AwsLc(key) => {
                let nonce = aws_lc::Nonce::assume_unique_for_key(nonce(number));
                let tag = key.seal_in_place_separate_tag(nonce, aws_lc::Aad::from(header), body)?;
                out.copy_from_slice(tag.as_ref());
            }
            Self::Ring(key) => {
                let nonce = ring::Nonce::assume_unique_for_key(nonce(number));
                let tag = key.seal_in_place_separate_tag(nonce, ring::Aad::from(header), body);
                out.copy_from_slice(tag.map_err(|_| "ring does not seal")?.as_ref());
            }
        }
        Ok(out)
    }

    /// Returns the length of what was sealed.
    pub(super) fn open(&self, number: u32, header: &[u8], body: &mut [u8]) -> Result<usize, Failure> {
        match self {
            Self::AwsLc(key) => {
                let nonce = aws_lc::Nonce::assume_unique_for_key(nonce(number));
                Ok(key.open_in_place(nonce, aws_lc::Aad::from(header), body)?.len())
            }
            Self::Ring(key) => {
                let nonce = ring::Nonce::assume_unique_for_key(nonce(number));
                let plain = key.open_in_place(nonce, ring::Aad::from(header), body);
                Ok(plain.map_err(|_| "a packet that ring does not open")?.len())
            }
        }
    }
}

fn nonce(number: u32) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[8..].copy_from_slice(&number.to_be_bytes());
    nonce
}
