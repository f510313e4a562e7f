// Command generate writes gen/schema.json and gen/bridge-metadata.json. Only needed when a version changes:
//
//	PULUMI_CONVERT=0 go run ./generate schema --out gen --skip-docs --skip-examples
package main

import (
	"os"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfgen"

	"bastide.invalid/pulumi-resource-minio/provider"
)

func main() {
	// which names were given before is kept in here, so what is there is read first
	metadata, err := os.ReadFile("gen/bridge-metadata.json")
	if err != nil {
		metadata = []byte("{}")
	}
	tfgen.Main(provider.Name, provider.Version, provider.Info(metadata))
}
