// Command pulumi-resource-hcloud is the Pulumi plugin for Hetzner Cloud.
//
// It is built where the published plugin cannot be reached. gen/ is made by ./generate and committed.
package main

import (
	"context"
	_ "embed"

	pf "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/pf/tfbridge"

	"bastide.invalid/pulumi-resource-hcloud/provider"
)

//go:embed gen/schema.json
var schema []byte

//go:embed gen/bridge-metadata.json
var metadata []byte

func main() {
	ctx := context.Background()
	pf.MainWithMuxer(ctx, provider.Name, provider.Info(ctx, metadata), schema)
}
