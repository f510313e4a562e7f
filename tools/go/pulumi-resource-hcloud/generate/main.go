// Command generate writes gen/schema.json and gen/bridge-metadata.json. Only needed when a version changes:
//
//	PULUMI_CONVERT=0 go run ./generate schema --out gen --skip-docs --skip-examples
package main

import (
	"context"
	"os"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/pf/tfgen"

	"bastide.invalid/pulumi-resource-hcloud/provider"
)

func main() {
	// the table of which half serves which resource is kept in here too, so what is there is read first
	metadata, err := os.ReadFile("gen/bridge-metadata.json")
	if err != nil {
		metadata = []byte("{}")
	}
	tfgen.MainWithMuxer(provider.Name, provider.Info(context.Background(), metadata))
}
