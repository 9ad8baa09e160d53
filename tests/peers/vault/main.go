// vault: HashiCorp Vault's core, HTTP API, PKI engine, AppRole and certificate logins, in memory and unsealed from the
// start. Its own server command would need some hundred modules more, for storage and clouds.
//
// usage: vault server -dev -dev-root-token-id=TOKEN -dev-no-store-token -dev-listen-address=HOST:PORT
//
//	[-dev-tls -dev-tls-cert-dir=FOLDER] [-dev-ha]
//	[-standby-listen-address=HOST:PORT -cluster-listen-address=HOST:PORT -cluster-address=HOST:PORT]
//
// The words of the first two lines are those of Vault's own command, and so is the line "Unseal Key: ..." that it prints.
// Those of the third give it a second node, on standby, which passes requests on to cluster-address.
package main

import (
	"context"
	"encoding/base64"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/helper/namespace"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

type words struct {
	token, address, tlsFolder         string
	standby, clusterListener, cluster string
	ha                                bool
}

func (w *words) url(address string) string {
	if w.tlsFolder == "" {
		return "http://" + address
	}
	return "https://" + address
}

func (w *words) storage(logger hclog.Logger) (physical.Backend, error) {
	if w.ha {
		return inmem.NewInmemHA(nil, logger)
	}
	return inmem.NewInmem(nil, logger)
}

type node struct {
	core    *vault.Core
	handler http.Handler
}

// newNode: cluster is where others find it, clusterListener where it listens for them; both empty when it is alone.
func newNode(storage physical.Backend, logger hclog.Logger, url, cluster, clusterListener string) (*node, error) {
	config := &vault.CoreConfig{Physical: storage, Logger: logger, DisableMlock: true, LogicalBackends: secrets,
		CredentialBackends: logins, BuiltinRegistry: registry{}, RedirectAddr: url}
	config.HAPhysical, _ = storage.(physical.HABackend)
	if cluster != "" {
		config.ClusterAddr = "https://" + cluster
	}
	core, err := vault.NewCore(config)
	if err != nil {
		return nil, err
	}
	handler := vaulthttp.Handler.Handler(&vault.HandlerProperties{Core: core, ListenerConfig: &configutil.Listener{}})
	if cluster != "" {
		address, err := net.ResolveTCPAddr("tcp", clusterListener)
		if err != nil {
			return nil, err
		}
		core.SetClusterListenerAddrs([]*net.TCPAddr{address})
		core.SetClusterHandler(handler)
	}
	return &node{core, handler}, nil
}

func (n *node) serve(listener net.Listener) {
	log.Fatal(http.Serve(listener, n.handler))
}

func awaitActive(core *vault.Core) error {
	for {
		if standby, err := core.Standby(); err != nil || !standby {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// begin makes a new Vault of this node, with that root token, and gives the unseal key.
func (n *node) begin(token string) ([]byte, error) {
	ctx := namespace.RootContext(context.Background())
	made, err := n.core.Initialize(ctx, &vault.InitParams{BarrierConfig: &vault.SealConfig{SecretShares: 1, SecretThreshold: 1}})
	if err != nil {
		return nil, err
	}
	if _, err := n.core.Unseal(made.SecretShares[0]); err != nil {
		return nil, err
	}
	if err := awaitActive(n.core); err != nil {
		return nil, err
	}
	_, err = n.core.HandleRequest(ctx, &logical.Request{ID: "root", Operation: logical.UpdateOperation,
		ClientToken: made.RootToken, Path: "auth/token/create",
		Data: map[string]interface{}{"id": token, "policies": []string{"root"}, "no_parent": true}})
	return made.SecretShares[0], err
}

func run(w *words) error {
	logger := hclog.New(&hclog.LoggerOptions{Output: os.Stderr, Level: hclog.Info})
	storage, err := w.storage(logger)
	if err != nil {
		return err
	}
	active, err := newNode(storage, logger.Named("active"), w.url(w.address), w.cluster, w.clusterListener)
	if err != nil {
		return err
	}
	key, err := active.begin(w.token)
	if err != nil {
		return err
	}
	fmt.Println("Unseal Key:", base64.StdEncoding.EncodeToString(key))
	listen, err := listeners(w)
	if err != nil {
		return err
	}
	if w.standby != "" {
		standby, err := newNode(storage, logger.Named("standby"), w.url(w.standby), w.standby, "127.0.0.1:0")
		if err != nil {
			return err
		}
		if _, err := standby.core.Unseal(key); err != nil {
			return err
		}
		second, err := listen(w.standby)
		if err != nil {
			return err
		}
		go standby.serve(second)
	}
	first, err := listen(w.address)
	if err != nil {
		return err
	}
	active.serve(first)
	return nil
}

func main() {
	var w words
	set := flag.NewFlagSet("server", flag.ExitOnError)
	set.Bool("dev", false, "which is all it can")
	set.Bool("dev-no-store-token", false, "it never stores it")
	set.StringVar(&w.token, "dev-root-token-id", "", "the root token")
	set.StringVar(&w.address, "dev-listen-address", "127.0.0.1:8200", "")
	withTLS := set.Bool("dev-tls", false, "")
	set.StringVar(&w.tlsFolder, "dev-tls-cert-dir", ".", "for vault-ca.pem, vault-cert.pem, vault-key.pem")
	set.BoolVar(&w.ha, "dev-ha", false, "as one node of several that share a storage")
	set.StringVar(&w.standby, "standby-listen-address", "", "of a second node")
	set.StringVar(&w.clusterListener, "cluster-listen-address", "", "where the first node has requests passed on to it")
	set.StringVar(&w.cluster, "cluster-address", "", "where the second node believes that to be")
	if len(os.Args) < 2 || os.Args[1] != "server" || set.Parse(os.Args[2:]) != nil {
		log.Fatal("usage: vault server -dev -dev-root-token-id=TOKEN ...")
	}
	if !*withTLS {
		w.tlsFolder = ""
	}
	completePaths()
	if err := run(&w); err != nil {
		log.Fatal(err)
	}
}
