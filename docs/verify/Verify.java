// Verifies a delivery of pms-emitter (Standard Webhooks 1.0), with nothing but Java's own classes (17 or later).
//
// As a program: java Verify.java SECRET ID TIMESTAMP SIGNATURES < body, which ends with 0 when the delivery is authentic.

import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Instant;
import java.util.Base64;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

public final class Verify {
    private static final long TOLERANCE_SECONDS = 300;
    private static final String PREFIX = "whsec_";

    private static byte[] keyOf(String secret) {
        return secret.startsWith(PREFIX)
            ? Base64.getDecoder().decode(secret.substring(PREFIX.length()))
            : secret.getBytes(StandardCharsets.UTF_8);
    }

    // body: the raw bytes, as they came. The headers are webhook-id, webhook-timestamp and webhook-signature.
    static boolean verify(String secret, String id, String timestamp, String signatures, byte[] body, long now)
            throws GeneralSecurityException {
        if (!timestamp.matches("[0-9]{1,12}") || Math.abs(now - Long.parseLong(timestamp)) > TOLERANCE_SECONDS) {
            return false;
        }
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(keyOf(secret), "HmacSHA256"));
        mac.update((id + "." + timestamp + ".").getBytes(StandardCharsets.UTF_8));
        String digest = Base64.getEncoder().encodeToString(mac.doFinal(body));
        byte[] expected = ("v1," + digest).getBytes(StandardCharsets.UTF_8);
        // Several signatures stand there while a secret is replaced: any of them will do.
        for (String one : signatures.split(" ")) {
            if (MessageDigest.isEqual(one.getBytes(StandardCharsets.UTF_8), expected)) {
                return true;
            }
        }
        return false;
    }

    public static void main(String[] given) throws Exception {
        byte[] body = System.in.readAllBytes();
        boolean authentic = verify(given[0], given[1], given[2], given[3], body, Instant.now().getEpochSecond());
        System.exit(authentic ? 0 : 1);
    }
}
