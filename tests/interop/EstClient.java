import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.KeyStore;
import java.security.Security;
import java.security.cert.CertificateFactory;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.util.Collections;

import javax.net.ssl.KeyManagerFactory;

import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.est.CACertsResponse;
import org.bouncycastle.est.CSRRequestResponse;
import org.bouncycastle.est.ESTAuth;
import org.bouncycastle.est.ESTException;
import org.bouncycastle.est.ESTService;
import org.bouncycastle.est.EnrollmentResponse;
import org.bouncycastle.est.jcajce.JcaHttpAuthBuilder;
import org.bouncycastle.est.jcajce.JcaJceUtils;
import org.bouncycastle.est.jcajce.JsseESTServiceBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.pkcs.PKCS10CertificationRequest;
import org.bouncycastle.pkcs.jcajce.JcaPKCS10CertificationRequestBuilder;

/**
 * Bouncy Castle's EST client, told by its arguments what to do:
 *
 *   EstClient OPERATION SERVER LABEL CACERT SUBJECT OUT PKCS12|- USER|- SECRET|-
 *
 * OPERATION is csrattrs, cacerts, enroll or reenroll. What came back is printed
 * line by line as "word: text"; certificates are written to OUT in DER. When an
 * enrollment is pending, "pending" is printed, a line is awaited on standard
 * input, and the library's own retry follows.
 */
public final class EstClient {
	private static final char[] PASSWORD = "changeit".toCharArray();

	private EstClient() {
	}

	private static ESTService service(String server, String label, String cacert, String store) throws Exception {
		X509Certificate root;

		try (FileInputStream in = new FileInputStream(cacert)) {
			root = (X509Certificate)CertificateFactory.getInstance("X.509").generateCertificate(in);
		}
		JsseESTServiceBuilder builder = new JsseESTServiceBuilder(server,
			JcaJceUtils.getCertPathTrustManager(Collections.singleton(new TrustAnchor(root, null)), null));
		if (!label.isEmpty())
			builder.withLabel(label);
		if (!store.equals("-")) {
			KeyStore keys = KeyStore.getInstance("PKCS12");

			try (FileInputStream in = new FileInputStream(store)) {
				keys.load(in, PASSWORD);
			}
			KeyManagerFactory factory = KeyManagerFactory.getInstance("SunX509");
			factory.init(keys, PASSWORD);
			builder.withKeyManagers(factory.getKeyManagers());
		}
		builder.withTimeout(20000);
		return builder.build();
	}

	private static PKCS10CertificationRequest request(String subject) throws Exception {
		KeyPairGenerator generator = KeyPairGenerator.getInstance("EC");

		generator.initialize(256);
		KeyPair pair = generator.generateKeyPair();
		return new JcaPKCS10CertificationRequestBuilder(new X500Name(subject), pair.getPublic())
			.build(new JcaContentSignerBuilder("SHA256withECDSA").build(pair.getPrivate()));
	}

	private static void write(X509CertificateHolder[] certs, String out) throws Exception {
		for (int i = 0; i < certs.length; i++) {
			System.out.println("certificate: " + certs[i].getSubject());
			try (FileOutputStream file = new FileOutputStream(out + "." + i)) {
				file.write(certs[i].getEncoded());
			}
		}
	}

	private static void csrattrs(ESTService service) throws Exception {
		CSRRequestResponse answer = service.getCSRAttributes();

		if (!answer.hasAttributesResponse()) {
			System.out.println("attributes: none");
			return;
		}
		for (ASN1ObjectIdentifier id : answer.getAttributesResponse().getRequirements())
			System.out.println("attribute: " + id);
	}

	private static void enroll(ESTService service, boolean again, String subject, String out, ESTAuth auth)
		throws Exception {
		EnrollmentResponse answer = service.simpleEnroll(again, request(subject), auth);

		while (!answer.isCompleted()) {
			System.out.println("pending: " + (answer.getNotBefore() - System.currentTimeMillis()));
			System.out.flush();
			if (new BufferedReader(new InputStreamReader(System.in)).readLine() == null)
				return;
			answer = service.simpleEnroll(answer);
		}
		write(ESTService.storeToArray(answer.getStore()), out);
	}

	public static void main(String[] args) throws Exception {
		Security.addProvider(new BouncyCastleProvider());
		ESTService service = service(args[1], args[2], args[3], args[6]);
		ESTAuth auth = args[7].equals("-") ? null :
			new JcaHttpAuthBuilder(args[7], args[8].toCharArray()).setProvider("SUN").build();

		try {
			switch (args[0]) {
			case "csrattrs":
				csrattrs(service);
				break;
			case "cacerts":
				CACertsResponse answer = service.getCACerts();
				System.out.println("trusted: " + answer.isTrusted());
				write(ESTService.storeToArray(answer.getCertificateStore()), args[5]);
				break;
			default:
				enroll(service, args[0].equals("reenroll"), args[4], args[5], auth);
			}
		} catch (ESTException e) {
			if (e.getStatusCode() == 0)
				throw e; /* no answer at all: TLS, the network, or an answer it cannot read */
			System.out.println("refused: " + e.getStatusCode());
		}
	}
}
