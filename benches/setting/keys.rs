//! A key pair or a secret for each algorithm of tokens, that every measurement signs with.

use fanfare::auth::{BadKey, Secret, Signer, TokenAlg};

/// As long as the longest hash asks for.
const SECRET: &str = "measured with a secret of sixty-four bytes, for HS256 up to 512.";

const RSA: [&str; 2] =
    [include_str!("../../tests/tokens/rsa.pem"), include_str!("../../tests/tokens/rsa.pub.pem")];
const P256: [&str; 2] =
    [include_str!("../../tests/tokens/p256.pem"), include_str!("../../tests/tokens/p256.pub.pem")];
const ED25519: [&str; 2] = [
    include_str!("../../tests/tokens/ed25519.pem"),
    include_str!("../../tests/tokens/ed25519.pub.pem"),
];

/// What signs by that algorithm, and the secret or public key that checks it.
pub(crate) fn signer(alg: TokenAlg) -> Result<(Signer, &'static str), BadKey> {
    let [private, public] = match alg {
        TokenAlg::Hs256 | TokenAlg::Hs384 | TokenAlg::Hs512 => {
            let signer = Signer::from_secret(alg, None, &Secret::new(SECRET.as_bytes()))?;
            return Ok((signer, SECRET));
        }
        TokenAlg::Rs256 => RSA,
        TokenAlg::Es256 => P256,
        TokenAlg::EdDsa => ED25519,
    };
    Ok((Signer::from_pem(alg, None, private.as_bytes())?, public))
}
